# Runs a check on a fixture that breaks its rules: the check must fail, with the complaints in EXPECTED and no others.
# cmake -DEXPECTED=FILE -DARGUMENTS="-DX=...;-P;check.cmake" -P rejects.cmake
cmake_minimum_required(VERSION 3.22)

execute_process(COMMAND "${CMAKE_COMMAND}" ${ARGUMENTS} RESULT_VARIABLE failed ERROR_VARIABLE complaints OUTPUT_QUIET)
string(REGEX REPLACE "CMake Error.*" "" complaints "${complaints}")
file(READ "${EXPECTED}" expected)
if(NOT failed)
    message(FATAL_ERROR "the check passed")
elseif(NOT complaints STREQUAL expected)
    message(NOTICE "expected:\n${expected}\ngot:\n${complaints}")
    message(FATAL_ERROR "the check complained of something else")
endif()
