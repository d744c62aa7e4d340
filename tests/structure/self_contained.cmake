# Compiles every public header alone, with warnings as errors and without exceptions and RTTI.
# cmake -DINCLUDE_DIR=DIR -DCXX=g++ -P self_contained.cmake
cmake_minimum_required(VERSION 3.22)

file(GLOB_RECURSE headers RELATIVE "${INCLUDE_DIR}" "${INCLUDE_DIR}/attenta/*.hpp")
list(FILTER headers EXCLUDE REGEX "^attenta/(simd/|eigen\\.hpp)")
if(NOT headers)
    message(FATAL_ERROR "no headers in ${INCLUDE_DIR}/attenta")
endif()

set(flags -std=c++20 -fsyntax-only -fno-exceptions -fno-rtti -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
set(complaints "")
foreach(header IN LISTS headers)
    execute_process(
        COMMAND "${CXX}" ${flags} "-I${INCLUDE_DIR}" -include "${header}" -x c++ /dev/null
        RESULT_VARIABLE failed OUTPUT_VARIABLE errors ERROR_VARIABLE errors)
    if(failed)
        list(APPEND complaints "${header}: does not compile alone")
        message(STATUS "${errors}")
    endif()
endforeach()

if(complaints)
    list(JOIN complaints "\n" text)
    message(NOTICE "${text}")
    message(FATAL_ERROR "a header does not compile alone")
endif()
list(LENGTH headers count)
message(STATUS "${count} headers compile alone")
