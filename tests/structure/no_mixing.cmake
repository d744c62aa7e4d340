# Objects that were compiled for different instruction sets have no function of attenta or xsimd in common: the linker
# would take the one of the first object for all. (Those of the standard library are in common wherever one program has
# files for different processors.)
# cmake -DOBJECTS="DIR/*.o" -DNM=nm -P no_mixing.cmake
cmake_minimum_required(VERSION 3.22)

file(GLOB objects "${OBJECTS}")
list(LENGTH objects count)
if(count LESS 2)
    message(FATAL_ERROR "needs two objects or more, ${OBJECTS} are ${count}")
endif()

set(seen "")
set(complaints "")
foreach(object IN LISTS objects)
    execute_process(
        COMMAND "${NM}" -P --defined-only "${object}"
        OUTPUT_VARIABLE symbols OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[^\n]*(7attenta|5xsimd)[^\n ]* [WVu] " symbols "${symbols}")
    list(TRANSFORM symbols REPLACE " .*" "")
    foreach(symbol IN LISTS symbols)
        if(symbol IN_LIST seen)
            list(APPEND complaints "more than one object has ${symbol}")
        endif()
    endforeach()
    list(APPEND seen ${symbols})
endforeach()

if(NOT seen)
    message(FATAL_ERROR "no weak symbols in ${OBJECTS}")
elseif(complaints)
    list(SORT complaints)
    list(REMOVE_DUPLICATES complaints)
    list(JOIN complaints "\n" text)
    message(NOTICE "${text}")
    message(FATAL_ERROR "functions for different instruction sets have the same name")
endif()
list(LENGTH seen count)
message(STATUS "${count} weak symbols, none twice")
