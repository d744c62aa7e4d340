// Suites that run for each mechanism of the family: class Some : public LinearSuite {}; ATTENTA_LINEAR_SUITE(Some).
#pragma once

#include <gtest/gtest.h>

#include "naive_linear_cases.hpp"

namespace attenta_test {

using LinearSuite = testing::TestWithParam<LinearMechanism>;

inline std::string mechanism_name(const testing::TestParamInfo<LinearMechanism>& info) { return info.param.name; }

}  // namespace attenta_test

#define ATTENTA_LINEAR_SUITE(suite) \
    INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(linear_mechanisms()), mechanism_name)
