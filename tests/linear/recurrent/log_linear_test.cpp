// Log-linear attention equals its definition; its own errors.
#include <attenta/linear/recurrent/log_linear.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

std::int64_t naive_level(std::int64_t i, std::int64_t j) {
    return static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(i ^ j)));
}
bool in_use(std::int64_t level, std::int64_t position) { return level > 0 && position >> (level - 1) & 1; }

/// fn(first position, level) of the buckets of a past.
template <class F>
void naive_buckets(std::int64_t position, std::int64_t levels, F&& fn) {
    for (std::int64_t l = 1; l < levels; ++l)
        if (in_use(l, position)) fn(position >> l << l, l);
}

//   o_i = scale · Σ_{j≤i} λ_i[level(i, j)] · exp(g_{j+1} + … + g_i) · (q_i·k_j) v_j,   level(i, j) = bit length of (i xor j)
//   Behind position n level l is the sum of the k_j v_jᵀ with level(n, j) = l, decayed to the end.
NaiveLinear naive_log_linear(const attenta::LogLinearInputs& in, const attenta::LogLinearOptions& x,
                             const LinearState& past) {
    const auto& [q, k, v, g, weight] = in;
    const std::int64_t hs = std::max(k.heads, v.heads), D = k.dim, Dv = v.dim, T = q.tokens, levels = weight.dim + 1,
                       p = x.position, end = p + T;
    NaiveLinear r = naive_start(std::max(q.heads, hs), T, hs, levels * D, Dv, past);
    const std::vector<double> before = r.matrix;
    const auto start = [&](std::int64_t h, std::int64_t l) { return before.data() + (h * levels + l) * D * Dv; };
    const auto level = [&](std::int64_t h, std::int64_t l) { return r.matrix.data() + (h * levels + l) * D * Dv; };
    for (std::int64_t h = 0; h < hs; ++h) {
        // Of a row that ends in front of token t: S = Σ weight(j) · decay · k_j v_jᵀ, newest key first.
        const auto sum = [&](std::int64_t t, auto&& take) {
            double decay = 1;
            for (std::int64_t j = t; j-- > 0;) {
                take(p + j, decay, std::int64_t{-1});
                decay *= std::exp(naive_gate(g, h, j, 0));
            }
            naive_buckets(p, levels, [&](std::int64_t first, std::int64_t l) { take(first, decay, l); });
        };
        for (std::int64_t t = 0; t < T; ++t)
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row qt = naive_row(q, i, r.heads, t);
                sum(t + 1, [&](std::int64_t j, double decay, std::int64_t l) {
                    const double w = double{x.scale} * decay * double{weight.row(h, t)[naive_level(p + t, j)]};
                    if (l < 0) {
                        const double s = w * naive_dot(qt.data(), naive_row(k, h, hs, j - p));
                        for (std::int64_t e = 0; e < Dv; ++e)
                            r.o_row(i, t)[e] += s * naive_row(v, h, hs, j - p).data()[e];
                    } else {
                        for (std::int64_t d = 0; d < D; ++d)
                            for (std::int64_t e = 0; e < Dv; ++e)
                                r.o_row(i, t)[e] += w * qt.data()[d] * start(h, l)[d * Dv + e];
                    }
                });
            }
        naive_buckets(p, levels, [&](std::int64_t, std::int64_t l) { std::fill_n(level(h, l), D * Dv, 0.0); });
        sum(T, [&](std::int64_t j, double decay, std::int64_t l) {
            double* const to = level(h, naive_level(end, j));
            for (std::int64_t d = 0; d < D; ++d)
                for (std::int64_t e = 0; e < Dv; ++e)
                    to[d * Dv + e] +=
                        decay * (l < 0 ? naive_row(k, h, hs, j - p).data()[d] * naive_row(v, h, hs, j - p).data()[e]
                                       : start(h, l)[d * Dv + e]);
        });
    }
    return r;
}

using Options = attenta::LogLinearOptions;
constexpr std::int64_t levels = 14;

void fill(LinearCase& c) {
    c.put_normal("q", Along::queries, c.shape.Hq, c.shape.D, 1 / std::sqrt(static_cast<float>(c.shape.D)));
    c.put_uniform("level_weight", Along::keys, state_heads(c), levels, 0, 1);
}
template <std::int64_t position>
void begin_at(LinearCase& c) {
    options_of<Options>(c).position = position;
}

/// Numbers in the levels that are in use.
LinearState past(const LinearCase& c) {
    LinearCase drawn = c.copy();
    LinearState s(state_heads(c), (levels + 1) * c.shape.D, c.shape.Dv);
    const std::int64_t n = c.shape.D * c.shape.Dv;
    for (std::int64_t h = 0; h < s.heads; ++h)
        for (std::int64_t l = 1; l <= levels; ++l)
            if (in_use(l, options_of<Options>(c).position))
                for (std::int64_t i = 0; i < n; ++i) s.of(h)[l * n + i] = 0.5f * drawn.random.normal();
    return s;
}

const LinearMechanism& log_linear =
    test_linear<&attenta::log_linear, naive_log_linear>({.name = "log_linear",
                                                         .variants = {{"behind 13 tokens", begin_at<13>},
                                                                      {"behind 191 tokens, scale -1.5",
                                                                       [](LinearCase& c) {
                                                                           begin_at<191>(c);
                                                                           options_of<Options>(c).scale = -1.5f;
                                                                       }},
                                                                      {"behind 1024 tokens", begin_at<1024>}},
                                                         .fill = fill,
                                                         .past = past,
                                                         .wide_dim = 1 << 15,
                                                         .free_width = "level_weight"});

/// Every position is another set of levels.
TEST(LogLinear, StepsFromEveryPositionEqualTheDefinition) {
    std::vector<LinearCase> cases;
    for (std::int64_t position = 0; position < 70; ++position)
        for (const std::int64_t T : {1, 2, 70}) {
            LinearCase c = linear_case(log_linear, {4, 2, 2, T, 5, 70}, Gates::mild, 0, false, 3);
            options_of<Options>(c).position = position;
            draw_past(c);
            cases.push_back(std::move(c));
        }
    expect_definition(cases);
}

TEST(LogLinearErrors, HeadsWidthsLevelsAndPositions) {
    const OwnErrors errors(log_linear);
    expect_errors_of_free_heads(log_linear);
    EXPECT_TRUE(errors.refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
    for (const std::int64_t position : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max() - 5})
        EXPECT_TRUE(errors.refused({"position", std::to_string(position)},
                                   [=](Call& c) { c.options<Options>().position = position; }));
    EXPECT_TRUE(
        errors.refused({"level_weight", "14", "15", "8197"}, [](Call& c) { c.options<Options>().position = 8192; }));
    EXPECT_TRUE(errors.refused({"level_weight", "-0.500000"}, [](Call& c) {
        c.options<Options>().check_data = true;
        change(c.c, "level_weight", [](float) { return -0.5f; });
    }));
}

}  // namespace
}  // namespace attenta_test
