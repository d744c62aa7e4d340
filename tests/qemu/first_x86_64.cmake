# The baseline alone: tests run once more on the first x86-64 processor, which had SSE2 and nothing newer, as qemu
# imitates it. There an instruction that slipped out of a backend's object, or a wrong choice of the backend, is illegal.
# Labels qemu and long: `ctest -L qemu` runs them, the default run leaves them out.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND NOT CMAKE_CROSSCOMPILING AND NOT ATTENTA_SANITIZE)
    find_program(ATTENTA_QEMU_X86_64 NAMES qemu-x86_64 qemu-x86_64-static)
    mark_as_advanced(ATTENTA_QEMU_X86_64)
endif()

# attenta_add_qemu_test(NAME TARGET arguments...)
function(attenta_add_qemu_test name target)
    if(ATTENTA_QEMU_X86_64)
        add_test(NAME qemu.${name}
            COMMAND ${ATTENTA_QEMU_X86_64} -cpu Opteron_G1,-pni $<TARGET_FILE:${target}> ${ARGN})
        set_tests_properties(qemu.${name} PROPERTIES LABELS "qemu;long" TIMEOUT 3600)
    endif()
endfunction()
