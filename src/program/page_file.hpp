// A page of HTML on disk.
#pragma once

#include <filesystem>
#include <string>

namespace cli {

/// A file that appears under its name when all of it is written; until then, and on failure, it is a temporary beside.
class PageFile {
public:
    /// Throws Error where the path cannot be written, or is something else than a file.
    explicit PageFile(const std::filesystem::path& path);
    ~PageFile();
    PageFile(const PageFile&) = delete;
    PageFile& operator=(const PageFile&) = delete;

    /// Throws Error where it cannot be written.
    void write(const std::string& text);

private:
    [[noreturn]] void refuse(const std::string& reason) const;

    std::filesystem::path path_, target_, temporary_;
};

}  // namespace cli
