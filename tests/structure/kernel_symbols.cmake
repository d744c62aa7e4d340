# A kernel object exports its kernels and nothing else. Weak and unique symbols count as exported, and so do COMDAT
# groups: the linker may pick their functions, compiled for one processor, for the whole program. Nor does it run code
# before main, on any processor, but for what a sanitizer adds.
# cmake -DOBJECTS="DIR/*_avx2.o;..." -DNM=nm -DREADELF=readelf [-DSANITIZED=1] -P kernel_symbols.cmake
cmake_minimum_required(VERSION 3.22)

file(GLOB objects ${OBJECTS})
if(NOT objects)
    message(FATAL_ERROR "no kernel objects: ${OBJECTS}")
endif()
set(ENV{LC_ALL} C)

set(complaints "")
foreach(object IN LISTS objects)
    get_filename_component(name "${object}" NAME_WE)
    execute_process(
        COMMAND "${NM}" -P --extern-only --defined-only "${object}"
        OUTPUT_VARIABLE symbols OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX REPLACE " [^\n]*" "" symbols "${symbols}")
    string(REPLACE "\n" ";" symbols "${symbols}")
    set(kernels ${symbols})
    list(FILTER kernels INCLUDE REGEX "^attenta_kernel_")
    if(NOT kernels)
        list(APPEND complaints "${name}: exports no kernel")
    endif()
    list(FILTER symbols EXCLUDE REGEX "^attenta_kernel_")
    foreach(symbol IN LISTS symbols)
        list(APPEND complaints "${name}: exports ${symbol}")
    endforeach()

    execute_process(
        COMMAND "${READELF}" --section-groups --wide "${object}" OUTPUT_VARIABLE groups COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "COMDAT group section \\[ *[0-9]+\\] `[^']*' \\[[^]]*\\]" groups "${groups}")
    foreach(group IN LISTS groups)
        string(REGEX REPLACE ".*\\[([^]]*)\\]$" "\\1" signature "${group}")
        list(APPEND complaints "${name}: keeps the COMDAT group of ${signature}")
    endforeach()

    execute_process(
        COMMAND "${READELF}" --sections --wide "${object}" OUTPUT_VARIABLE sections COMMAND_ERROR_IS_FATAL ANY)
    if(sections MATCHES "INIT_ARRAY" AND NOT SANITIZED)
        list(APPEND complaints "${name}: runs code before main")
    endif()
endforeach()

if(complaints)
    list(SORT complaints)
    list(JOIN complaints "\n" text)
    message(NOTICE "${text}")
    message(FATAL_ERROR "an object exports more or less than its kernels")
endif()
list(LENGTH OBJECTS count)
message(STATUS "${count} backends export their tables alone")
