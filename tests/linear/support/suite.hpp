// Suites that run for each mechanism of the family: class Some : public LinearSuite {}; ATTENTA_LINEAR_SUITE(Some).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mechanism.hpp"

namespace attenta_test {

using LinearSuite = testing::TestWithParam<const LinearMechanism*>;

inline std::string mechanism_name(const testing::TestParamInfo<const LinearMechanism*>& info) {
    return info.param->name;
}

inline std::vector<const LinearMechanism*> all_mechanisms() {
    std::vector<const LinearMechanism*> all;
    for (const LinearMechanism& m : linear_mechanisms()) all.push_back(&m);
    return all;
}

}  // namespace attenta_test

#define ATTENTA_LINEAR_SUITE(suite) \
    INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(all_mechanisms()), mechanism_name)
