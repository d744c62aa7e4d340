// Bidirectional weighted key-value equals its definition, the sum over all pairs; its errors.
#include <attenta/linear/recurrent/bi_wkv.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/recurrence.hpp"

namespace attenta_test {
namespace {

using attenta::WkvLengthNorm;

/// Variants: plain; receptance and residual; nothing is divided, δ = 0, large keys; passes on a grid; growing weights.
struct BiWkv {
    using Inputs = attenta::BiWkvInputs;
    using Options = attenta::BiWkvOptions;
    static constexpr const char* name = "bi_wkv";
    static constexpr int variants = 5;
    static constexpr double tolerance = 2e-4;

    static void draw(RecurrenceCase<BiWkv>& c, bool) {
        const bool large = c.variant == 2, passes = c.variant == 3;
        c.put(c.x.k, c.H, c.T, c.D, large ? 40.f : 1.f);
        c.put(c.x.v, c.H, c.T, c.D);
        const std::int64_t count = passes ? 3 : 1;
        c.put(c.x.w, count, c.H, c.D, large ? 3.f : 10.f);
        c.put(c.x.u, count, c.H, c.D);
        if (c.variant == 1 || passes) {
            c.put(c.x.r, c.H, c.T, c.D);
            c.put(c.x.residual, c.H, c.T, c.D);
            c.put(c.x.alpha, 2, c.H, c.D, 0.5f);
        }
        if (large) c.options.length_norm = WkvLengthNorm::none, c.options.distance_offset = 0;
        if (passes) c.options.length_norm = WkvLengthNorm::w;
        const std::int64_t rows = c.T % 5 == 0 ? 5 : c.T % 3 == 0 ? 3 : c.T % 2 == 0 ? 2 : 1;
        if (passes) c.options.grid = {{rows, c.T / rows}};
        if (c.variant == 4)
            c.memory[2].each_row([&](float* row, std::int64_t, std::int64_t) {
                for (std::int64_t i = 0; i < c.D; ++i) row[i] = -std::abs(row[i]);
            });
    }
    static void call(const Inputs& x, Out o, LinearState&, const Options& options, Context& context) {
        attenta::bi_wkv(x, o, options, context);
    }

    /// The mean of v with weights e^{l_ts}, tokens in the order of a pass.
    static std::vector<double> pass(const std::vector<double>& k, const std::vector<double>& v, double w, double u,
                                    double offset) {
        std::vector<double> o;
        const auto T = static_cast<std::int64_t>(k.size());
        for (std::int64_t t = 0; t < T; ++t) {
            const auto logit = [&](std::int64_t s) {
                return k.data()[s] + (s == t ? u : -w * (static_cast<double>(std::abs(t - s)) - offset));
            };
            double top = logit(0), a = 0, b = 0;
            for (std::int64_t s = 1; s < T; ++s) top = std::isnan(logit(s)) ? logit(s) : std::max(logit(s), top);
            for (std::int64_t s = 0; s < T; ++s) {
                const double weight = std::exp(logit(s) - top);
                a += weight * v.data()[s];
                b += weight;
            }
            o.push_back(a / b);
        }
        return o;
    }

    static NaiveRecurrence definition(const Inputs& x, const Options& options, const LinearState&) {
        const std::int64_t H = x.k.heads, T = x.k.tokens, D = x.k.dim;
        const auto length = static_cast<double>(T);
        const double of_w = options.length_norm == WkvLengthNorm::none ? 1 : length,
                     of_u = options.length_norm == WkvLengthNorm::both ? length : 1;
        NaiveRecurrence r{std::vector<double>(static_cast<std::size_t>(H * T * D)), {}};
        for (std::int64_t h = 0; h < H; ++h)
            for (std::int64_t c = 0; c < D; ++c) {
                const auto of = [&](const View& z, std::int64_t t) { return double{z.row(h, t)[c]}; };
                std::vector<double> v;
                for (std::int64_t t = 0; t < T; ++t)
                    v.push_back(of(x.v, t) +
                                (x.residual.data ? of(x.residual, t) * double{x.alpha.row(0, h)[c]} : 0.0));
                for (std::int64_t j = 0; j < x.w.heads; ++j) {
                    std::vector<std::int64_t> walk;
                    const auto [rows, columns] = options.grid.value_or(std::array<std::int64_t, 2>{1, T});
                    for (std::int64_t i = 0; i < T; ++i) walk.push_back(j % 2 == 0 ? i : i % rows * columns + i / rows);
                    std::vector<double> keys, values;
                    for (const std::int64_t t : walk) keys.push_back(of(x.k, t)), values.push_back(at(v, t));
                    const std::vector<double> next =
                        pass(keys, values, double{x.w.row(j, h)[c]} / of_w, double{x.u.row(j, h)[c]} / of_u,
                             static_cast<double>(options.distance_offset));
                    for (std::int64_t i = 0; i < T; ++i) at(v, walk.data()[i]) = next.data()[i];
                }
                for (std::int64_t t = 0; t < T; ++t) {
                    double o = at(v, t);
                    if (x.residual.data) o += (of(x.residual, t) - of(x.v, t)) * double{x.alpha.row(1, h)[c]};
                    at(r.o, (h * T + t) * D + c) = x.r.data ? o / (1 + std::exp(-of(x.r, t))) : o;
                }
            }
        return r;
    }
};

using Case = RecurrenceCase<BiWkv>;

TEST(BiWkv, EqualsItsDefinition) { expect_definition_of_all_shapes<BiWkv>(BiWkv::variants, false); }
TEST(BiWkv, LayoutsAndThreadsChangeNoBit) { expect_layouts_and_threads_change_no_bit<BiWkv>(BiWkv::variants); }
TEST(BiWkv, NanIsWhereTheDefinitionHasIt) { expect_nan_of_the_definition<BiWkv>(BiWkv::variants, false); }

/// Both directions are alike.
TEST(BiWkv, ASequenceBackwardsGivesTheOutputsBackwards) {
    Case c(2, 37, 9), backwards(2, 37, 9);
    for (const std::size_t i : {0u, 1u})
        for (std::int64_t h = 0; h < 2; ++h)
            for (std::int64_t t = 0; t < 37; ++t)
                std::copy_n(c.memory[i].row(h, t), 9, backwards.memory[i].row(h, 36 - t));
    Context context;
    const LinearOutput a = run(c, context), b = run(backwards, context);
    a.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t i = 0; i < 9; ++i) EXPECT_NEAR(row[i], b.o.row(h, 36 - t)[i], 1e-5f);
    });
}

TEST(BiWkvErrors, InputsAndOutputs) {
    expect_errors_of_inputs<BiWkv>(1, false);
    expect_errors_of_outputs<BiWkv>(false);
}

TEST(BiWkvErrors, Options) {
    const auto spoiled = [](std::initializer_list<std::string_view> words, int variant, auto&& change) {
        return refused<BiWkv>(
            words, [&](Case& c, Out&, LinearState&) { change(c); }, variant, false);
    };
    EXPECT_TRUE(spoiled({"distance_offset", "2"}, 0, [](Case& c) { c.options.distance_offset = 2; }));
    EXPECT_TRUE(spoiled({"grid", "3"}, 3, [](Case& c) { c.options.grid.reset(); }));
    EXPECT_TRUE(spoiled({"grid", "4", "6"}, 3, [](Case& c) { c.options.grid = {{4, 2}}; }));
    EXPECT_TRUE(spoiled({"grid", "-2"}, 3, [](Case& c) { c.options.grid = {{-2, -3}}; }));
    EXPECT_TRUE(spoiled({"grid"}, 3, [](Case& c) {
        const std::int64_t half = std::int64_t{1} << 32;
        c.options.grid = {{half, half}};
    }));
    EXPECT_TRUE(spoiled({"alpha"}, 1, [](Case& c) { c.x.alpha = {}; }));
    EXPECT_TRUE(spoiled({"residual"}, 1, [](Case& c) { c.x.residual = {}; }));
}

}  // namespace
}  // namespace attenta_test
