// Based equals its definition; its own errors.
#include <attenta/linear/features/based.hpp>

#include <gtest/gtest.h>

#include <limits>

#include "linear/support/naive_products.hpp"
#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

//   s_ij = scale · q_i·k_j,   p_ij = 1 + s + s²/2,   o_i = Σ_{j<=i} p_ij v_j / (Σ_{j<=i} p_ij + eps)
NaiveLinear naive_based(const attenta::BasedInputs& in, const attenta::BasedOptions& x, const LinearState& past) {
    const auto& [q, k, v] = in;
    const std::int64_t state_heads = std::max(k.heads, v.heads), D = k.dim;
    const double scale = naive_scale(x.scale, D);
    const NaiveLinear r =
        naive_start(std::max(q.heads, state_heads), q.tokens, state_heads, 1 + D + D * (D + 1) / 2, v.dim, past);
    return naive_polynomial_attention(
        r, k, v, true, 2, {1, 1, 0.5}, past,
        [&, &q = q](std::int64_t h, std::int64_t i) {
            Row row = naive_row(q, h, r.heads, i);
            for (double& e : row) e *= scale;
            return row;
        },
        [&, &k = k](std::int64_t h, std::int64_t j) { return naive_row(k, h, state_heads, j); },
        [&](Row& num, double den) {
            for (double& e : num) e /= x.normalize ? den + double{x.eps} : 1;
        });
}

using Options = attenta::BasedOptions;

const LinearMechanism& based = test_linear<&attenta::based, naive_based>(
    {.name = "based",
     .variants = {{"not normalised, scale -0.5",
                   [](LinearCase& c) {
                       options_of<Options>(c).normalize = false, options_of<Options>(c).scale = -0.5f;
                   }},
                  {"eps 2", [](LinearCase& c) { options_of<Options>(c).eps = 2; }},
                  {"large keys", [](LinearCase& c) { change(c, "k", [](float k) { return 2 * k; }); }}},
     .divides = [](const LinearCase& c) { return options_of<Options>(c).normalize; },
     .past = state_of_first_token,
     .most_dim = 48});

TEST(BasedErrors, HeadsAndWidths) { expect_errors_of_free_heads(based); }

TEST(BasedErrors, Options) {
    const OwnErrors errors(based);
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1; }));
    EXPECT_TRUE(errors.refused({"scale", "square"}, [](Call& c) { c.options<Options>().scale = 1e30f; }));
}

}  // namespace
}  // namespace attenta_test
