#include "page_file.hpp"

#include <attenta/core/error.hpp>

#include <unistd.h>

#include <fstream>
#include <system_error>

namespace cli {

namespace fs = std::filesystem;

PageFile::PageFile(const fs::path& path) : path_(path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status)) refuse("is a folder");
    if (fs::exists(status) && !fs::is_regular_file(status)) refuse("is not a regular file");
    if (fs::exists(status) && ::access(path.c_str(), W_OK) != 0) refuse("cannot be written");
    // A link stays one: what it points to is replaced.
    target_ = fs::exists(status) ? fs::canonical(path, error) : path;
    if (!fs::exists(status) && fs::is_symlink(fs::symlink_status(path, error)))
        target_ = path.parent_path() / fs::read_symlink(path, error);
    temporary_ = target_;
    temporary_ += std::string(".").append(std::to_string(::getpid())).append(".part");
    if (target_.filename().empty() || !std::ofstream(temporary_, std::ios::binary)) {
        temporary_.clear();
        refuse("cannot be written");
    }
    // Of a run that is interrupted, nothing is left.
    fs::remove(temporary_, error);
}

PageFile::~PageFile() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove(temporary_, ignored);
}

void PageFile::write(const std::string& text) {
    std::ofstream stream(temporary_, std::ios::binary | std::ios::trunc);
    stream.write(text.data(), static_cast<std::streamsize>(text.size()));
    stream.close();
    std::error_code error;
    if (stream) fs::rename(temporary_, target_, error);
    if (!stream || error) refuse("cannot be written");
    temporary_.clear();
}

void PageFile::refuse(const std::string& reason) const { throw attenta::Error(path_.string() + ": " + reason); }

}  // namespace cli
