# Finds GoogleTest, or builds it for the target from the sources that Debian's libgtest-dev brings.
find_package(GTest QUIET)
if(NOT GTest_FOUND)
    set(ATTENTA_GTEST_SOURCES /usr/src/googletest CACHE PATH "GoogleTest's sources, where it is not installed")
    if(NOT EXISTS ${ATTENTA_GTEST_SOURCES}/CMakeLists.txt)
        message(FATAL_ERROR "GoogleTest is not installed for ${CMAKE_SYSTEM_PROCESSOR}, nor are its sources")
    endif()
    set(BUILD_GMOCK OFF)
    set(INSTALL_GTEST OFF)
    add_subdirectory(${ATTENTA_GTEST_SOURCES} ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
    target_compile_options(gtest PRIVATE -w)  # its warnings are not ours
endif()
