// A folder for the files of a model, removed at the end of the test.
#pragma once

#include "llama.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

class ModelFolder : public testing::Test {
protected:
    ModelFolder() { std::filesystem::create_directories(directory_); }
    ~ModelFolder() override { std::filesystem::remove_all(directory_); }

    void write(const std::string& file, const std::string& text) const { std::ofstream(directory_ / file) << text; }

    /// The reason for which the model is refused.
    std::string refusal() const {
        try {
            const llama::Model model(directory_);
        } catch (const attenta::Error& e) {
            return e.what();
        }
        return "accepted";
    }

    // Tests of one program may run side by side.
    const std::filesystem::path directory_ =
        std::filesystem::path(testing::TempDir()) /
        ("llama_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

inline testing::AssertionResult contains(const std::string& text, const std::string& part) {
    if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
    return testing::AssertionFailure() << '"' << text << "\" does not contain \"" << part << '"';
}
