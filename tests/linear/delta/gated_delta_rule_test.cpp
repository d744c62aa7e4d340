// The gated delta rule equals its definition (support/naive_delta.hpp); its own errors.
#include <attenta/linear/delta/gated_delta_rule.hpp>

#include <gtest/gtest.h>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

NaiveLinear naive_gated_delta_rule(const attenta::GatedDeltaRuleInputs& in,
                                   const attenta::GatedDeltaRuleOptions& options, const LinearState& past) {
    const auto& [q, k, v, g, beta] = in;
    return naive_delta(q, k, v, g, beta, options, past);
}

const LinearMechanism& gated_delta_rule =
    test_linear<&attenta::gated_delta_rule, naive_gated_delta_rule>({"gated_delta_rule", delta_variants(), fill_delta});

TEST(GatedDeltaRuleErrors, HeadsWidthsAndEps) { expect_delta_errors(gated_delta_rule); }

TEST(GatedDeltaRuleErrors, Gates) {
    const OwnErrors errors(gated_delta_rule);
    EXPECT_TRUE(errors.refused({"g", "16"}, [](Call& c) { c.x.at("g").dim = 16; }));
    EXPECT_TRUE(errors.refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
}

}  // namespace
}  // namespace attenta_test
