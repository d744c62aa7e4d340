// The golden cases: tests/golden/<family>/<mechanism>/<case>.safetensors.
#pragma once

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace attenta_test {

inline std::filesystem::path golden_path(const std::string& family, const std::string& mechanism,
                                         const std::string& name) {
    return std::filesystem::path(ATTENTA_GOLDEN_DIR) / family / mechanism / (name + ".safetensors");
}

/// All cases of a mechanism, sorted. Throws where there are none, so that a lost folder fails a test.
inline std::vector<std::filesystem::path> golden_cases(const std::string& family, const std::string& mechanism) {
    const auto folder = std::filesystem::path(ATTENTA_GOLDEN_DIR) / family / mechanism;
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    if (files.empty()) throw std::runtime_error("no golden cases in " + folder.string());
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace attenta_test
