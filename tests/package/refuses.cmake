# The consumer's bad call ends the program with attenta's message.
# cmake -DPROGRAM=consumer -P refuses.cmake
cmake_minimum_required(VERSION 3.22)

execute_process(COMMAND "${PROGRAM}" bad RESULT_VARIABLE result ERROR_VARIABLE message OUTPUT_QUIET)
if(result EQUAL 0 OR NOT message MATCHES "softmax_attention: k has 25 features, q has 24")
    message(FATAL_ERROR "result ${result}, message: ${message}")
endif()
