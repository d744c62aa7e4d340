#include <attenta/softmax/positions/rope.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <numeric>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Heads, attenta::RopeLayout, attenta::RopeOptions, attenta::RopeScaling,
    attenta::RopeScalingType, attenta::RopeTable;
using Positions = std::vector<std::int64_t>;

/// Frequencies straight from the formulas of each scaling, and the factor of cosines and sines.
std::vector<double> naive_frequencies(std::int64_t R, const RopeOptions& o, std::int64_t seq_len, double* factor) {
    const RopeScaling& s = o.scaling;
    const auto r = static_cast<double>(R), L = static_cast<double>(s.max_position);
    const double n = std::max(static_cast<double>(s.seq_len.value_or(seq_len)), L);
    double base = o.base;
    if (s.type == RopeScalingType::ntk) base *= std::pow(s.factor, r / (r - 2));
    if (s.type == RopeScalingType::dynamic) base *= std::pow(s.factor * n / L - (s.factor - 1), r / (r - 2));
    *factor = 1;
    if (s.type == RopeScalingType::yarn) {
        const auto g = [&](double a) { return s.factor > 1 ? 0.1 * a * std::log(s.factor) + 1 : 1; };
        *factor = s.attention_factor             ? *s.attention_factor
                  : s.mscale && s.mscale_all_dim ? g(*s.mscale) / g(*s.mscale_all_dim)
                                                 : g(1);
    }
    if (s.type == RopeScalingType::longrope)
        *factor = s.attention_factor.value_or(s.factor > 1 ? std::sqrt(1 + std::log(s.factor) / std::log(L)) : 1);
    std::vector<double> w;
    for (std::int64_t c = 0; c < R / 2; ++c) {
        double x = std::pow(base, -2.0 * static_cast<double>(c) / r);
        if (s.type == RopeScalingType::linear) x /= s.factor;
        if (s.type == RopeScalingType::yarn) {
            const auto pair = [&](double turns) {
                return r * std::log(L / (2 * std::numbers::pi * turns)) / (2 * std::log(o.base));
            };
            double low = pair(s.beta_fast), high = pair(s.beta_slow);
            if (s.truncate) low = std::floor(low), high = std::ceil(high);
            low = std::max(low, 0.0), high = std::min(high, r - 1);
            const double ramp = std::clamp((static_cast<double>(c) - low) / (high == low ? 0.001 : high - low), 0., 1.);
            x *= (1 - ramp) + ramp / s.factor;
        }
        if (s.type == RopeScalingType::llama3) {
            const double turns = L * x / (2 * std::numbers::pi);
            const double y = std::clamp((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0., 1.);
            x *= (1 - y) / s.factor + y;
        }
        if (s.type == RopeScalingType::longrope)
            x /= (n > L ? s.long_factor : s.short_factor)[static_cast<std::size_t>(c)];
        w.push_back(x);
    }
    return w;
}

/// A row turned by position · w, times the factor.
std::vector<double> naive_row(const float* x, std::int64_t dim, double position, const std::vector<double>& w,
                              double factor, RopeLayout layout) {
    std::vector<double> y = wide(x, dim);
    for (std::size_t c = 0; c < w.size(); ++c) {
        double& a = y[layout == RopeLayout::half ? c : 2 * c];
        double& b = y[layout == RopeLayout::half ? c + w.size() : 2 * c + 1];
        const double was = a, cosine = factor * std::cos(position * w[c]), sine = factor * std::sin(position * w[c]);
        a = was * cosine - b * sine;
        b = b * cosine + was * sine;
    }
    return y;
}

template <class T>
void expect_rows(const Tensor<float>& x, const Heads<T>& got, const Positions& positions, const std::vector<double>& w,
                 double factor, RopeLayout layout, double relative) {
    for (std::int64_t h = 0; h < got.heads; ++h)
        for (std::int64_t t = 0; t < got.tokens; ++t) {
            const auto want = naive_row(x.row(h, t), got.dim,
                                        static_cast<double>(positions[static_cast<std::size_t>(t)]), w, factor, layout);
            for (std::int64_t d = 0; d < got.dim; ++d) {
                const double y = want[static_cast<std::size_t>(d)];
                ASSERT_NEAR(double{static_cast<float>(got.row(h, t)[d])}, y, 2e-6 + relative * std::abs(y))
                    << h << ' ' << t << ' ' << d;
            }
        }
}

std::vector<RopeOptions> all_options() {
    std::vector<RopeOptions> all(11);
    all[1] = {.layout = RopeLayout::interleaved, .rotary_dim = 12, .base = 500};
    all[2].scaling = {.type = RopeScalingType::linear, .factor = 4};
    all[3] = {.layout = RopeLayout::interleaved, .scaling = {.type = RopeScalingType::ntk, .factor = 8}};
    all[4].scaling = {.type = RopeScalingType::dynamic, .factor = 2, .max_position = 16};
    all[5].scaling = {.type = RopeScalingType::dynamic, .factor = 2, .max_position = 128, .seq_len = 300};
    all[6].scaling = {.type = RopeScalingType::yarn, .factor = 16, .max_position = 4096};
    all[7] = {.rotary_dim = 16,
              .scaling = {.type = RopeScalingType::yarn,
                          .factor = 40,
                          .max_position = 4096,
                          .beta_fast = 20,
                          .beta_slow = 2,
                          .truncate = false,
                          .mscale = 0.7,
                          .mscale_all_dim = 1.1}};
    all[8] = {.base = 500000, .scaling = {.type = RopeScalingType::llama3, .factor = 8, .max_position = 8192}};
    all[9].scaling = {.type = RopeScalingType::longrope, .factor = 4, .max_position = 20};
    all[10].q_offset = 100000;
    for (int c = 0; c < 10; ++c) {
        all[9].scaling.short_factor.push_back(1 + 0.1 * c);
        all[9].scaling.long_factor.push_back(1 + 3 * c);
    }
    return all;
}

TEST(Rope, HoldsForAllScalings) {
    Random random(3);
    for (const RopeOptions& o : all_options())
        for (const auto& [Tq, Tk] : {std::pair{1, 1}, {9, 41}, {33, 17}}) {
            const Tensor<float> q = random_tensor(random, 4, Tq, 20), k = random_tensor(random, 2, Tk, 20);
            const std::int64_t R = o.rotary_dim.value_or(20), offset = o.q_offset.value_or(Tk - Tq);
            Positions i(static_cast<std::size_t>(Tq)), j(static_cast<std::size_t>(Tk));
            std::iota(i.begin(), i.end(), offset);
            std::iota(j.begin(), j.end(), 0);
            double factor = 1;
            const auto w = naive_frequencies(R, o, std::max<std::int64_t>(offset + Tq, Tk), &factor);
            on_every_isa([&](Context& context) {
                Tensor<float> q_out(4, Tq, 20, Order::token_head, 3), k_out(2, Tk, 20);
                std::vector<float> frequencies(static_cast<std::size_t>(R / 2));
                attenta::rope({q.view(), k.view()}, {q_out.view(), k_out.view(), frequencies.data()}, o, context);
                expect_rows(q, q_out.view(), i, w, factor, o.layout, 1e-6);
                expect_rows(k, k_out.view(), j, w, factor, o.layout, 1e-6);
                EXPECT_TRUE(q_out.padding_is_untouched());
                for (std::size_t c = 0; c < w.size(); ++c) EXPECT_NEAR(double{frequencies[c]} / w[c], 1, 1e-6);
            });
        }
}

/// Positions of tokens, far ones too, in place, of all types, with a kept table and without.
template <class T>
void expect_rotation(double relative) {
    Random random(5);
    for (const RopeLayout layout : {RopeLayout::half, RopeLayout::interleaved})
        for (const std::int64_t rotated : {2, 14, 32, 38}) {
            const RopeOptions o{.layout = layout, .rotary_dim = rotated};
            const auto stored = converted<T>(random_tensor(random, 3, 21, 38).view());
            const Tensor<float> x = converted<float>(stored.view());
            Positions positions;
            for (std::int64_t t = 0; t < 21; ++t)
                positions.push_back(t % 3 == 0 ? 1000000 * t : random.integer(-9, 50));
            double factor = 1;
            const auto w = naive_frequencies(rotated, o, 0, &factor);
            for (const std::int64_t kept : {0, 30})
                on_every_isa([&](Context& context) {
                    const RopeTable table(38, o, kept);
                    const auto out = converted<T>(stored.view(), Order::token_head, 5);
                    attenta::rope_rotate(out.view(), positions, out.view(), table, context);
                    expect_rows(x, out.view(), positions, w, 1, layout, relative);
                    EXPECT_TRUE(out.padding_is_untouched());
                    for (std::int64_t t = 0; t < 21; ++t)  // what does not turn is copied
                        for (std::int64_t d = rotated; d < 38; ++d) EXPECT_EQ(float{out.row(1, t)[d]}, x.row(1, t)[d]);
                });
        }
}
TEST(Rope, RotatesFloatsInPlace) { expect_rotation<float>(1e-6); }
TEST(Rope, RotatesBfloat16InPlace) { expect_rotation<attenta::bfloat16>(0x1p-8); }
TEST(Rope, RotatesFloat16InPlace) { expect_rotation<attenta::float16>(0x1p-10); }

/// ONNX's RotaryEmbedding: caches of cosines and sines, position_ids, interleaved, rotary_embedding_dim.
TEST(Rope, TakesCachesOfOthers) {
    Random random(7);
    const Tensor<float> cos = random_tensor(random, 1, 12, 5), sin = random_tensor(random, 1, 12, 5),
                        x = random_tensor(random, 2, 4, 16);
    const auto matrix = [](const Tensor<float>& t) { return attenta::Matrices<const float>{t.view().data, 1, 12, 5}; };
    const Positions positions = {11, 0, 3, 3};
    for (const RopeLayout layout : {RopeLayout::half, RopeLayout::interleaved}) {
        const RopeTable table = RopeTable::of(matrix(cos), matrix(sin), 16, layout);
        Tensor<float> out(2, 4, 16);
        attenta::rope_rotate(x.view(), positions, out.view(), table);
        for (std::int64_t t = 0; t < 4; ++t)
            for (std::int64_t c = 0; c < 5; ++c) {
                const std::int64_t p = positions[static_cast<std::size_t>(t)],
                                   a = layout == RopeLayout::half ? c : 2 * c,
                                   b = layout == RopeLayout::half ? c + 5 : 2 * c + 1;
                const float C = cos.row(0, p)[c], S = sin.row(0, p)[c], xa = x.row(1, t)[a], xb = x.row(1, t)[b];
                EXPECT_NEAR(out.row(1, t)[a], xa * C - xb * S, 1e-5);
                EXPECT_NEAR(out.row(1, t)[b], xb * C + xa * S, 1e-5);
            }
        EXPECT_EQ(out.row(0, 1)[15], x.row(0, 1)[15]);
        const Positions beyond = {0, 1, 12, 2};
        EXPECT_TRUE(refuses([&] { attenta::rope_rotate(x.view(), beyond, out.view(), table); },
                            {"rope_rotate", "positions", "12", "11"}));
    }
}

/// Scores depend on the distance alone.
TEST(Rope, TurnsByDistance) {
    Random random(9);
    const Tensor<float> x = random_tensor(random, 2, 1, 64);
    const RopeTable table(64, {.base = 300});
    const auto score = [&](std::int64_t i, std::int64_t j) {
        Tensor<float> q(1, 1, 64), k(1, 1, 64);
        const Heads<const float> a{x.row(0, 0), 1, 1, 64, 64, 64}, b{x.row(1, 0), 1, 1, 64, 64, 64};
        attenta::rope_rotate(a, Positions{i}, q.view(), table);
        attenta::rope_rotate(b, Positions{j}, k.view(), table);
        return naive_dot(wide(q.row(0, 0), 64), wide(k.row(0, 0), 64));
    };
    EXPECT_NEAR(score(17, 5), score(100012, 100000), 1e-4);
    EXPECT_NEAR(score(-3, 8), score(489, 500), 1e-4);
}

bool is_fresh(const Tensor<float>& x) {
    const Tensor<float> fresh(x.view().heads, x.view().tokens, x.view().dim);
    return std::memcmp(x.memory().data(), fresh.memory().data(), x.memory().size() * sizeof(float)) == 0;
}

TEST(Rope, RefusesOptions) {
    const auto refused = [](const RopeOptions& o, std::initializer_list<std::string_view> words) {
        Tensor<float> q(2, 3, 8), k(1, 5, 8), q_out(2, 3, 8), k_out(1, 5, 8);
        const auto alone = refuses([&] { attenta::RopeTable(8, o); }, words);
        if (!alone) return alone;
        const auto result = refuses(
            [&] {
                attenta::rope({q.view(), k.view()}, {q_out.view(), k_out.view()}, o);
            },
            words);
        if (!is_fresh(q_out) || !is_fresh(k_out)) return testing::AssertionFailure() << "q was written";
        return result;
    };
    using enum RopeScalingType;
    EXPECT_TRUE(refused({.rotary_dim = 3}, {"rotary_dim", "3"}));
    EXPECT_TRUE(refused({.rotary_dim = 0}, {"rotary_dim", "0"}));
    EXPECT_TRUE(refused({.rotary_dim = 10}, {"rotary_dim", "10", "8"}));
    EXPECT_TRUE(refused({.base = 0}, {"base"}));
    EXPECT_TRUE(refused({.base = -5}, {"base"}));
    EXPECT_TRUE(refused({.base = NAN}, {"base"}));
    EXPECT_TRUE(refused({.rotary_dim = 2, .scaling = {.type = ntk, .factor = 2}}, {"rotary_dim", "2"}));
    EXPECT_TRUE(refused({.scaling = {.type = linear, .factor = 0}}, {"factor"}));
    EXPECT_TRUE(refused({.scaling = {.type = ntk, .factor = -1}}, {"factor"}));
    EXPECT_TRUE(refused({.scaling = {.type = dynamic, .factor = 2}}, {"max_position", "0"}));
    EXPECT_TRUE(refused({.base = 1, .scaling = {.type = yarn, .factor = 2, .max_position = 10}}, {"base"}));
    EXPECT_TRUE(refused({.scaling = {.type = yarn, .factor = 2, .max_position = 10, .beta_fast = 0}}, {"beta_fast"}));
    EXPECT_TRUE(refused({.scaling = {.type = llama3, .factor = 2, .max_position = 10, .low_freq_factor = 4}},
                        {"high_freq_factor"}));
    EXPECT_TRUE(refused({.scaling = {.type = longrope, .factor = 2, .max_position = 10}}, {"short_factor", "0", "4"}));
}

TEST(Rope, RefusesShapesAndOverlaps) {
    Tensor<float> q(2, 3, 8), k(1, 5, 8), q_out(2, 3, 8), k_out(1, 5, 8), three(3, 3, 8);
    const Positions four(4), three_positions(3);
    using attenta::rope;
    EXPECT_TRUE(refuses(
        [&] {
            rope({k.view(), three.view()}, {k_out.view(), three.view()});
        },
        {"rope", "q", "1", "3"}));
    EXPECT_TRUE(refuses(
        [&] {
            rope({q.view(), k.view(), four}, {q_out.view(), k_out.view()});
        },
        {"rope", "positions_q", "4"}));
    EXPECT_TRUE(refuses([&] { rope({q.view(), k.view()}, {k_out.view(), k_out.view()}); }, {"rope", "out.q"}));
    EXPECT_TRUE(refuses(
        [&] {
            rope({q.view(), k.view()}, {q_out.view(), k_out.view().slice(0, 4)});
        },
        {"rope", "out.k"}));
    EXPECT_TRUE(refuses([&] { rope({q.view(), {}}, {q_out.view(), k_out.view()}); }, {"rope", "k", "null"}));
    Heads<float> shifted = q.view();
    shifted.data += 4, shifted.heads = 1;
    Heads<const float> one = q.view();
    one.heads = 1;
    EXPECT_TRUE(refuses([&] { attenta::rope_rotate(one, three_positions, shifted, RopeTable(8)); },
                        {"rope_rotate", "to", "overlaps", "x"}));
    EXPECT_TRUE(refuses([&] { attenta::rope_rotate(q.view(), four, q.view(), RopeTable(8)); },
                        {"rope_rotate", "positions", "4"}));
    EXPECT_TRUE(refuses([&] { attenta::rope_rotate(q.view(), three_positions, q.view(), RopeTable(10)); },
                        {"rope_rotate", "x", "10"}));
    rope({q.view(), k.view()}, {q.view(), k.view()});  // in place
}

}  // namespace
}  // namespace attenta_test
