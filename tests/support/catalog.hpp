// Tensors and files for the tests of the catalog.
#pragma once

#include <attenta/catalog.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "golden.hpp"

namespace attenta_test {

/// A folder for the files of a test.
class CatalogTest : public testing::Test {
protected:
    CatalogTest() { std::filesystem::create_directories(folder_); }
    ~CatalogTest() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path file(const std::string& name) const { return folder_ / name; }

private:
    // Tests of one program may run side by side.
    std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "attenta_catalog" /
                                    testing::UnitTest::GetInstance()->current_test_info()->name();
};

/// What the Error says that the call throws.
template <class F>
std::string message_of(F&& call) {
    try {
        call();
    } catch (const attenta::Error& e) {
        return e.what();
    }
    return "(no Error)";
}

template <class T>
attenta::Tensor tensor(attenta::TensorType type, std::vector<std::int64_t> shape, const std::vector<T>& values) {
    attenta::Tensor t = attenta::Tensor::zeros(type, std::move(shape));
    std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
    return t;
}

inline attenta::TensorFile softmax_case(const std::string& mechanism, const std::string& name) {
    return attenta::TensorFile::load(golden_path("softmax", mechanism, name));
}

}  // namespace attenta_test
