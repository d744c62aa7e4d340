// The subcommands of `attenta`. Each prints to standard output and returns the exit code: 0, 1 for cases that failed or
// are missing, 2 for input that could not be used.
#pragma once

#include <attenta/catalog.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "view.hpp"

namespace cli {

enum class Format { text, json, markdown };

/// The mechanisms of this name, with or without "family/" before it. Throws attenta::Error if there is none.
std::vector<const attenta::Mechanism*> find(std::string_view name);

int list(Format format);

int show(const std::string& name, Format format);

int info(Format format);

struct RunOptions {
    std::vector<std::filesystem::path> files;
    std::filesystem::path out;            ///< empty: results are not kept
    std::string mechanism;                ///< empty: that of the file
    std::vector<std::string> parameters;  ///< NAME=VALUE
    std::string atol, rtol;               ///< empty: those of the file
    Format format = Format::text;
};
int run(const RunOptions& options);

struct ViewOptions {
    std::filesystem::path source;  ///< a case, or the folder of a model; empty: the bundled model
    std::filesystem::path out = "attention.html";
    std::optional<std::string> prompt;
    std::filesystem::path prompt_file;
    std::vector<std::int32_t> prompt_ids;
    std::vector<std::string> parameters;  ///< NAME=VALUE
    view::Settings settings;
};
int view(const ViewOptions& options);

struct CompareOptions {
    std::vector<std::string> mechanisms, families;  ///< empty: all
    std::optional<std::int64_t> context, heads, budget;
    int threads = 1;
    std::filesystem::path model;  ///< a directory, whose q, k, v are taken where no files are given
    std::string q, k, v;          ///< FILE or FILE:TENSOR
    std::filesystem::path html;   ///< empty: no page
    Format format = Format::text;
};
int compare(const CompareOptions& options);

}  // namespace cli
