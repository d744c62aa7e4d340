# A shared library exports attenta's names and nothing else.
# cmake -DLIBRARY=libattenta.so -DNM=nm -P exported_symbols.cmake
cmake_minimum_required(VERSION 3.22)

execute_process(
    COMMAND "${NM}" --dynamic --demangle --defined-only "${LIBRARY}"
    OUTPUT_VARIABLE symbols OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE ";" "," symbols "${symbols}")
string(REPLACE "\n" ";" symbols "${symbols}")
list(TRANSFORM symbols REPLACE "^[0-9a-f]* [A-Za-z] " "")
list(LENGTH symbols count)
list(FILTER symbols EXCLUDE REGEX "^(vtable for |typeinfo (name )?for )?attenta::[a-z_]+::")
if(symbols)
    list(SORT symbols)
    list(TRANSFORM symbols PREPEND "exports ")
    list(JOIN symbols "\n" text)
    message(NOTICE "${text}")
    message(FATAL_ERROR "the library exports what is not its own")
elseif(count LESS 10)
    message(FATAL_ERROR "the library exports ${count} symbols")
endif()
message(STATUS "${count} exported symbols, all of attenta")
