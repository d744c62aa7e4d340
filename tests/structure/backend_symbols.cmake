# A backend object exports its table and nothing else. Weak and unique symbols count as exported, and so do COMDAT
# groups: the linker may pick their functions, compiled for one processor, for the whole program. Nor does it run code
# before main, on any processor, but for what a sanitizer adds.
# cmake -DOBJECTS="DIR/backend_avx2.o;..." -DNM=nm -DREADELF=readelf [-DSANITIZED=1] -P backend_symbols.cmake
cmake_minimum_required(VERSION 3.22)

if(NOT OBJECTS)
    message(FATAL_ERROR "no backend objects given")
endif()
set(ENV{LC_ALL} C)

set(complaints "")
foreach(object IN LISTS OBJECTS)
    get_filename_component(isa "${object}" NAME_WE)
    set(table "attenta_${isa}")
    execute_process(
        COMMAND "${NM}" -P --extern-only --defined-only "${object}"
        OUTPUT_VARIABLE symbols OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX REPLACE " [^\n]*" "" symbols "${symbols}")
    string(REPLACE "\n" ";" symbols "${symbols}")
    if(NOT table IN_LIST symbols)
        list(APPEND complaints "${isa}: does not export ${table}")
    endif()
    list(REMOVE_ITEM symbols "${table}")
    foreach(symbol IN LISTS symbols)
        list(APPEND complaints "${isa}: exports ${symbol}")
    endforeach()

    execute_process(
        COMMAND "${READELF}" --section-groups --wide "${object}" OUTPUT_VARIABLE groups COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "COMDAT group section \\[ *[0-9]+\\] `[^']*' \\[[^]]*\\]" groups "${groups}")
    foreach(group IN LISTS groups)
        string(REGEX REPLACE ".*\\[([^]]*)\\]$" "\\1" signature "${group}")
        list(APPEND complaints "${isa}: keeps the COMDAT group of ${signature}")
    endforeach()

    execute_process(
        COMMAND "${READELF}" --sections --wide "${object}" OUTPUT_VARIABLE sections COMMAND_ERROR_IS_FATAL ANY)
    if(sections MATCHES "INIT_ARRAY" AND NOT SANITIZED)
        list(APPEND complaints "${isa}: runs code before main")
    endif()
endforeach()

if(complaints)
    list(SORT complaints)
    list(JOIN complaints "\n" text)
    message(NOTICE "${text}")
    message(FATAL_ERROR "a backend exports more or less than its table")
endif()
list(LENGTH OBJECTS count)
message(STATUS "${count} backends export their tables alone")
