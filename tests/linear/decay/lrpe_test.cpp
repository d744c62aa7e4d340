// LRPE equals its definition, pair by pair; its own errors.
#include <attenta/linear/decay/lrpe.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "linear/support/naive_lrpe.hpp"
#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

//   a_ts = Σ_d q_td k_sd cos(θ_d (t − s)) · exp(g (t − s)),   o_t = Σ_{s ≤ t} a_ts v_s      not causal: all s, g = 0
// and what a given state, whose rows are features at absolute positions, adds.
NaiveLinear naive_lrpe(const attenta::LrpeInputs& in, const attenta::LrpeOptions& x, const LinearState& past) {
    const auto& [q, k, v, theta, decay] = in;
    const std::int64_t hs = std::max(k.heads, v.heads), T = q.tokens;
    NaiveLinear r = naive_start(std::max(q.heads, hs), T, hs, 2 * q.dim, v.dim, past);
    const auto power = [](double g, std::int64_t n) { return n == 0 ? 1 : std::exp(g * static_cast<double>(n)); };
    for (std::int64_t h = 0; h < hs; ++h) {
        const double g = x.causal ? naive_gate(decay, h, 0, 0) : 0;
        const NaiveLinear before = r;
        NaiveLinear given = before;
        naive_multiply(r, h, power(g, T));
        for (std::int64_t s = 0; s < T; ++s) {
            Row key = naive_turned(naive_row(k, h, hs, s), theta.row(h, 0), x.offset + s);
            for (double& e : key) e *= power(g, T - 1 - s);
            naive_add(r, h, key, naive_row(v, h, hs, s));
            if (!x.causal) naive_add(given, h, key, naive_row(v, h, hs, s));
        }
        for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i)
            for (std::int64_t t = 0; t < T; ++t) {
                const Row query = naive_row(q, i, r.heads, t);
                Row o = naive_read(given, h, naive_turned(query, theta.row(h, 0), x.offset + t));
                if (x.causal)
                    for (double& e : o) e *= power(g, t + 1);
                for (std::int64_t s = 0; s <= t && x.causal; ++s) {
                    const Row key = naive_row(k, h, hs, s), value = naive_row(v, h, hs, s);
                    double a = 0;
                    for (std::size_t d = 0; d < key.size(); ++d)
                        a += query[d] * key[d] * std::cos(double{theta.row(h, 0)[d]} * static_cast<double>(t - s));
                    for (std::size_t e = 0; e < o.size(); ++e) o[e] += a * power(g, t - s) * value[e];
                }
                std::copy(o.begin(), o.end(), r.o_row(i, t));
            }
    }
    return r;
}

using Options = attenta::LrpeOptions;
const LinearMechanism& lrpe = test_linear<&attenta::lrpe, naive_lrpe>(
    {.name = "lrpe",
     .variants = {{"a decay", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
                  {"a decay, far from the origin",
                   [](LinearCase& c) {
                       c.put_gates("g", Along::nothing, state_heads(c), 1);
                       options_of<Options>(c).offset = 20011;
                   }},
                  {"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false; }}},
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).causal; }});

TEST(LrpeErrors, HeadsAndWidths) { expect_errors_of_free_heads(lrpe); }

TEST(LrpeErrors, AnglesDecaysAndPositions) {
    const OwnErrors errors(lrpe);
    EXPECT_TRUE(errors.refused({"theta", "1", "2"}, [](Call& c) { c.x.at("theta").heads = 1; }));
    EXPECT_TRUE(errors.refused({"theta", "8", "16"}, [](Call& c) { c.x.at("theta").dim = 8; }));
    EXPECT_TRUE(errors.refused(
        {"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }, 1));
    EXPECT_TRUE(errors.refused({"offset", "-1"}, [](Call& c) { c.options<Options>().offset = -1; }));
    EXPECT_TRUE(errors.refused(
        {"offset", "6"}, [](Call& c) { c.options<Options>().offset = std::numeric_limits<std::int64_t>::max() - 5; }));
}

}  // namespace
}  // namespace attenta_test
