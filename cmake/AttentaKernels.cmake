# Compiles sources once per instruction set, each into one object that exports its kernels and nothing else.
#
#   attenta_add_kernels(target file.cpp...)    kernels (see attenta/engine/kernel.hpp), score edits of one's own among
#                                              them (see attenta/engine/score/own_edit.hpp)
#
# Even a trivial file compiled for AVX-512 emits weak symbols of the standard library, and the linker may choose them for the
# whole program. So on ELF every object is linked with `ld -r` and all its symbols but the wanted ones are made local.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i[3-6]86")
    set(ATTENTA_ALL_ISAS sse2 avx2 avx512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(ATTENTA_ALL_ISAS neon64)
else()
    message(FATAL_ERROR "attenta has no backend for ${CMAKE_SYSTEM_PROCESSOR}")
endif()
set(ATTENTA_ISAS "${ATTENTA_ALL_ISAS}" CACHE STRING "instruction sets to build backends for")
foreach(isa IN LISTS ATTENTA_ISAS)
    if(NOT isa IN_LIST ATTENTA_ALL_ISAS)
        message(FATAL_ERROR "ATTENTA_ISAS holds ${isa}, this processor has a choice of ${ATTENTA_ALL_ISAS}")
    endif()
endforeach()
if(NOT ATTENTA_ISAS)
    message(FATAL_ERROR "ATTENTA_ISAS is empty, this processor has a choice of ${ATTENTA_ALL_ISAS}")
endif()
option(ATTENTA_OPTIMIZE_KERNELS "-O3 for the kernels, whatever the build type" ON)
# Whatever CMAKE_CXX_FLAGS and those of the build type say (-march=native, -ffast-math, -O0), these come later and win.
set(ATTENTA_FLAGS_sse2 -march=x86-64 -mno-sse3)
set(ATTENTA_FLAGS_avx2 -march=x86-64 -mno-avx512f -mavx2 -mfma -mf16c)
set(ATTENTA_FLAGS_avx512
    -march=x86-64 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mfma -mf16c -mprefer-vector-width=512)
set(ATTENTA_FLAGS_neon64 "")

# CMake picks LLVM's linker for Clang, which cannot dissolve COMDAT groups.
set(ATTENTA_LINKER "${CMAKE_LINKER}")
if(ATTENTA_LINKER MATCHES "lld")
    find_program(ATTENTA_GNU_LINKER NAMES ${CMAKE_LIBRARY_ARCHITECTURE}-ld ld REQUIRED)
    mark_as_advanced(ATTENTA_GNU_LINKER)
    set(ATTENTA_LINKER "${ATTENTA_GNU_LINKER}")
endif()

# Appends to ${out} the object of `source` for `isa`, in which only the symbols of `pattern` are global.
function(attenta_kernel_object out name source isa pattern)
    set(raw ${name}_${isa}_raw)
    add_library(${raw} OBJECT ${source})
    set_target_properties(${raw} PROPERTIES
        CXX_STANDARD 20 CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF UNITY_BUILD OFF)
    target_link_libraries(${raw} PRIVATE attenta::headers_path xsimd)
    target_compile_definitions(${raw} PRIVATE ATTENTA_KERNEL_ISA=${isa})
    target_compile_options(${raw} PRIVATE
        ${ATTENTA_FLAGS_${isa}} -fno-exceptions -fno-fast-math $<$<BOOL:${ATTENTA_OPTIMIZE_KERNELS}>:-O3>
        $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)  # objcopy cannot make unique symbols local
    if(ATTENTA_SANITIZE)
        # Pointer checks on every batch and poisoned scopes of every inlined lambda would cost minutes of compile time. Reads and
        # writes out of bounds, overflow and shifts stay checked.
        target_compile_options(${raw} PRIVATE
            -fno-sanitize-address-use-after-scope -fno-sanitize=null,alignment,object-size,vptr)
    endif()
    if(TARGET attenta_warnings)
        target_link_libraries(${raw} PRIVATE attenta_warnings)
    endif()
    if(CMAKE_EXECUTABLE_FORMAT STREQUAL "ELF" OR (UNIX AND NOT APPLE))
        set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}_${isa}.o)
        add_custom_command(
            OUTPUT ${object}
            COMMAND ${ATTENTA_LINKER} -r --force-group-allocation -o ${object} $<TARGET_OBJECTS:${raw}>
            COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=${pattern} ${object}
            DEPENDS ${raw} $<TARGET_OBJECTS:${raw}>
            COMMENT "Closing ${name}_${isa}.o"
            COMMAND_EXPAND_LISTS VERBATIM)
        set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    else()
        set(object $<TARGET_OBJECTS:${raw}>)
    endif()
    set(${out} ${${out}} ${object} PARENT_SCOPE)
endfunction()

function(attenta_add_kernels target)
    foreach(isa IN LISTS ATTENTA_ALL_ISAS)
        if(NOT isa IN_LIST ATTENTA_ISAS)
            string(TOUPPER ${isa} upper)
            target_compile_definitions(${target} PRIVATE ATTENTA_WITHOUT_${upper})
        endif()
    endforeach()
    set(objects "")
    foreach(source IN LISTS ARGN)
        get_filename_component(stem ${source} NAME_WE)
        foreach(isa IN LISTS ATTENTA_ISAS)
            attenta_kernel_object(objects ${target}_${stem} ${source} ${isa} "attenta_kernel_*_${isa}")
        endforeach()
    endforeach()
    target_sources(${target} PRIVATE ${ARGN} ${objects})  # as plain sources they are the choice among the objects
    target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:xsimd,INTERFACE_INCLUDE_DIRECTORIES>)
    set_property(TARGET ${target} APPEND PROPERTY ATTENTA_KERNEL_OBJECTS ${objects})
endfunction()
