// Kimi delta attention equals its definition (support/naive_delta.hpp); its own errors.
#include <attenta/linear/delta/kda.hpp>

#include <gtest/gtest.h>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

NaiveLinear naive_kda(const attenta::KdaInputs& in, const attenta::KdaOptions& options, const LinearState& past) {
    const auto& [q, k, v, g, beta] = in;
    return naive_delta(q, k, v, g, beta, options, past);
}

const LinearMechanism& kda = test_linear<&attenta::kda, naive_kda>({"kda", delta_variants(), fill_delta});

TEST(KdaErrors, HeadsWidthsAndEps) { expect_delta_errors(kda); }

TEST(KdaErrors, Gates) {
    const OwnErrors errors(kda);
    EXPECT_TRUE(errors.refused({"g", "1", "16"}, [](Call& c) { c.x.at("g").dim = 1; }));
    EXPECT_TRUE(errors.refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
}

}  // namespace
}  // namespace attenta_test
