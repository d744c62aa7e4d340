# 64-bit Arm from any Debian: g++-aarch64-linux-gnu compiles, qemu-user or qemu-user-static runs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

find_program(ATTENTA_QEMU_AARCH64 NAMES qemu-aarch64 qemu-aarch64-static)
mark_as_advanced(ATTENTA_QEMU_AARCH64)
if(ATTENTA_QEMU_AARCH64)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${ATTENTA_QEMU_AARCH64} -L /usr/aarch64-linux-gnu)
endif()

# xsimd is headers alone, but its CMake files lie in the folder of the machine's own architecture.
file(GLOB xsimd_DIR /usr/lib/*/cmake/xsimd)
