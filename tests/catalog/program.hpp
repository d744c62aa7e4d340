// The program `attenta`, started as its users start it.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace attenta_test {

struct Output {
    int code = -1;
    std::string text;
};

/// ATTENTA_CLI: the program's path, in a cross build behind the words of the emulator's command; quotes between words.
inline Output attenta_program(const std::string& arguments, const std::string& redirection = "2>&1") {
    Output result;
    FILE* pipe = ::popen(("'" ATTENTA_CLI "' " + arguments + " " + redirection).c_str(), "r");
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) result.text.append(buffer, n);
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    return result;
}

inline std::string quoted(const std::filesystem::path& path) {
    return std::string(1, '\'').append(path.string()).append("' ");
}

}  // namespace attenta_test
