// The subcommands of `attenta`. Each prints to standard output and returns the exit code: 0, 1 for cases that failed or
// are missing, 2 for input that could not be used.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cli {

enum class Format { text, json, markdown };

int list(Format format);

/// `name`: a mechanism, with or without "family/" before it.
int show(const std::string& name, Format format);

int info(Format format);

struct RunOptions {
    std::vector<std::filesystem::path> files;
    std::filesystem::path out;  ///< empty: results are not kept
    Format format = Format::text;
};
int run(const RunOptions& options);

}  // namespace cli
