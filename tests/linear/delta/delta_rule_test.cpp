// The delta rule equals its definition (support/naive_delta.hpp); its own errors.
#include <attenta/linear/delta/delta_rule.hpp>

#include <gtest/gtest.h>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

NaiveLinear naive_delta_rule(const attenta::DeltaRuleInputs& in, const attenta::DeltaRuleOptions& options,
                             const LinearState& past) {
    const auto& [q, k, v, beta] = in;
    return naive_delta(q, k, v, {}, beta, options, past);
}

const LinearMechanism& delta_rule =
    test_linear<&attenta::delta_rule, naive_delta_rule>({"delta_rule", delta_variants(), fill_delta});

TEST(DeltaRuleErrors, HeadsWidthsAndEps) { expect_delta_errors(delta_rule); }

}  // namespace
}  // namespace attenta_test
