// The causal convolution equals its definition, at any cut; states in between; sequences with states in a pool; its errors.
#include <attenta/linear/recurrent/causal_conv.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "linear/support/recurrence.hpp"

namespace attenta_test {
namespace {

using attenta::ConvActivation;

/// Variants: 4 taps with all that there is; 3 taps; 1 tap; 2 taps with a residual; 17 taps; numbers of some hundreds.
struct CausalConv {
    using Inputs = attenta::CausalConvInputs;
    using Options = attenta::CausalConvOptions;
    static constexpr const char* name = "causal_conv";
    static constexpr int variants = 6;
    static constexpr double tolerance = 2e-4;

    static void draw(RecurrenceCase<CausalConv>& c, bool past) {
        constexpr std::int64_t widths[] = {4, 3, 1, 2, 17, 4};
        const std::int64_t W = widths[c.variant];
        const float gain = c.variant == 5 ? 100.f : 1.f;
        c.put(c.x.x, c.H, c.T, c.D, gain);
        c.put(c.x.weight, c.H, c.D, W);
        if (c.variant % 2 == 0) c.put(c.x.bias, c.H, 1, c.D);
        if (c.variant == 0 || c.variant >= 4) c.options.activation = ConvActivation::silu;
        c.options.residual = c.variant == 0 || c.variant == 3;
        if (!past) return;
        c.past = LinearState(c.H, W - 1, c.D);
        c.past.matrix = c.random.normals(c.H * (W - 1) * c.D);
        for (float& e : c.past.matrix) e *= gain;
    }
    static void call(const Inputs& x, Out o, LinearState& state, const Options& options, Context& context) {
        attenta::causal_conv(x, o, state, options, context);
    }

    /// Input t of the state and the tokens behind it.
    static double input(const Inputs& x, const LinearState& past, std::int64_t h, std::int64_t t, std::int64_t c) {
        const std::int64_t kept = x.weight.dim - 1;
        if (t >= kept) return double{x.x.row(h, t - kept)[c]};
        return past.empty() ? 0.0 : double{past.of(h)[t * x.x.dim + c]};
    }

    //   o_t = act(bias + Σ_n weight_n x_{t−(W−1)+n}),   o ← o + x
    static NaiveRecurrence definition(const Inputs& x, const Options& options, const LinearState& past) {
        const std::int64_t H = x.x.heads, T = x.x.tokens, D = x.x.dim, W = x.weight.dim;
        NaiveRecurrence r;
        for (std::int64_t h = 0; h < H; ++h) {
            for (std::int64_t t = 0; t < T; ++t)
                for (std::int64_t c = 0; c < D; ++c) {
                    double y = naive_gate(x.bias, h, 0, c);
                    for (std::int64_t n = 0; n < W; ++n)
                        y += double{x.weight.row(h, c)[n]} * input(x, past, h, t + n, c);
                    if (options.activation) y /= 1 + std::exp(-y);
                    r.o.push_back(options.residual ? y + double{x.x.row(h, t)[c]} : y);
                }
            for (std::int64_t j = 0; j < W - 1; ++j)
                for (std::int64_t c = 0; c < D; ++c) r.state.push_back(input(x, past, h, T + j, c));
        }
        return r;
    }
};

using Case = RecurrenceCase<CausalConv>;

TEST(CausalConv, EqualsItsDefinition) { expect_definition_of_all_shapes<CausalConv>(CausalConv::variants); }
TEST(CausalConv, CutsChangeNoBit) { expect_cuts_change_no_bit<CausalConv>(CausalConv::variants); }
TEST(CausalConv, LayoutsAndThreadsChangeNoBit) {
    expect_layouts_and_threads_change_no_bit<CausalConv>(CausalConv::variants);
}
TEST(CausalConv, NanIsWhereTheDefinitionHasIt) { expect_nan_of_the_definition<CausalConv>(5); }

/// In any order, with repeats; 0 is the state given.
TEST(CausalConv, StatesInBetweenAreThoseOfShorterCalls) {
    on_every_isa([](Context& context) {
        for (const int variant : {0, 1, 2, 4})
            for (const bool past : {false, true})
                for (const std::int64_t T : {1, 2, 29}) {
                    Case c(2, T, 21, variant, past);
                    const std::vector<std::int64_t> at = {T, 0, T / 2, T, 1};
                    const std::int64_t size = 2 * (c.x.weight.dim - 1) * 21;
                    std::vector<float> states(static_cast<std::size_t>(5 * size));
                    c.options.at = at, c.options.state_at = states.data();
                    LinearOutput out{c.output(), c.past};
                    CausalConv::call(c.x, out.o.view(), out.state, c.options, context);
                    c.options.at.reset();
                    for (std::size_t i = 0; i < at.size(); ++i) {
                        LinearOutput part{c.output(), c.past};
                        if (part.state.empty()) part.state = LinearState(2, c.x.weight.dim - 1, 21);
                        if (at[i] > 0)
                            CausalConv::call(c.part(0, at[i]), part.o.view().slice(0, at[i]), part.state, c.options,
                                             context);
                        EXPECT_TRUE(equal_bits(states.data() + static_cast<std::int64_t>(i) * size,
                                               part.state.matrix.data(), size))
                            << c.words() << ", after " << at[i];
                    }
                }
    });
}

/// The same numbers as calls for one sequence after the other, slots in any order.
TEST(CausalConv, SequencesWithStatesInAPoolAreCallsOfTheirOwn) {
    on_every_isa([](Context& context) {
        for (const int variant : {0, 1, 2, 3, 4}) {
            Case c(2, 31, 150, variant);
            const std::vector<std::int64_t> starts = {0, 1, 1, 9, 10, 31}, slots = {6, 2, 0, 5, 3};
            const std::int64_t kept = c.x.weight.dim - 1, size = 2 * kept * 150;
            std::vector<float> pool = c.random.normals(7 * size);
            const std::vector<float> before = pool;
            Tensor<float> o = c.output();
            attenta::causal_conv_sequences(c.x, o.view(), {starts, slots, pool}, c.options, context);
            std::vector<float> want = before;
            for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
                const std::int64_t begin = starts[s], count = starts[s + 1] - begin;
                if (count == 0) continue;
                float* const slot = want.data() + slots[s] * size;
                LinearState state(2, kept, 150);
                std::copy_n(slot, size, state.matrix.data());
                Tensor<float> part(2, count, 150);
                attenta::causal_conv(c.part(begin, count), part.view(), state, c.options, context);
                std::copy_n(state.matrix.data(), size, slot);
                part.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                    EXPECT_TRUE(equal_bits(row, o.row(h, begin + t), 150)) << c.words() << ", sequence " << s;
                });
            }
            EXPECT_TRUE(equal_bits(pool, want)) << c.words();
        }
    });
}

TEST(CausalConvErrors, InputsOutputsAndStates) {
    for (const int variant : {0, 1}) expect_errors_of_inputs<CausalConv>(variant);
    expect_errors_of_outputs<CausalConv>();
    EXPECT_TRUE(
        (refused<CausalConv>({"weight", "7", "8"}, [](Case& c, Out&, LinearState&) { c.x.weight.tokens = 7; })));
    EXPECT_TRUE((refused<CausalConv>({"state", "3", "2"}, [](Case& c, Out&, LinearState&) { c.x.weight.dim = 3; })));
}

TEST(CausalConvErrors, StatesInBetween) {
    std::vector<float> room(1000);
    const auto spoiled = [&](std::initializer_list<std::string_view> words, std::vector<std::int64_t> at,
                             auto&& change) {
        return refused<CausalConv>(words, [&](Case& c, Out& o, LinearState& state) {
            c.options.at = at, c.options.state_at = room.data();
            change(c, o, state);
        });
    };
    const auto nothing = [](auto&&...) {};
    EXPECT_TRUE(spoiled({"at", "7", "6"}, {1, 7}, nothing));
    EXPECT_TRUE(spoiled({"at", "-1"}, {-1}, nothing));
    EXPECT_TRUE(spoiled({"state_at", "null"}, {1}, [](Case& c, Out&, LinearState&) { c.options.state_at = nullptr; }));
    EXPECT_TRUE(spoiled({"state_at", "o"}, {1}, [](Case& c, Out& o, LinearState&) { c.options.state_at = o.data; }));
    EXPECT_TRUE(spoiled({"state_at", "state"}, {1},
                        [](Case& c, Out&, LinearState& s) { c.options.state_at = s.matrix.data() + 3; }));
    EXPECT_TRUE(spoiled({"state_at", "weight"}, {1},
                        [](Case& c, Out&, LinearState&) { c.options.state_at = c.memory[1].row(0, 0); }));
}

TEST(CausalConvErrors, SequencesAndSlots) {
    struct Given {
        std::vector<std::int64_t> starts = {0, 2, 6}, slots = {1, 0};
        std::vector<float> pool = std::vector<float>(3 * 48, 0.5f);
    };
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        Case c(2, 6, 8);
        Given g;
        Tensor<float> o = c.output();
        spoil(c, g);
        const std::vector<float> o_before = o.memory(), pool_before = g.pool;
        const testing::AssertionResult result = refuses(
            [&] {
                attenta::causal_conv_sequences(c.x, o.view(), {g.starts, g.slots, g.pool}, c.options);
            },
            words);
        if (!result) return result;
        const bool same = equal_bits(o_before, o.memory()) && equal_bits(pool_before, g.pool);
        return same ? testing::AssertionSuccess() : testing::AssertionFailure() << "something was written";
    };
    const char* f = "causal_conv_sequences";
    EXPECT_TRUE(refused({f, "starts", "6"}, [](Case&, Given& g) { g.starts = {}; }));
    EXPECT_TRUE(refused({f, "starts", "6"}, [](Case&, Given& g) { g.starts.back() = 5; }));
    EXPECT_TRUE(refused({f, "starts", "6"}, [](Case&, Given& g) { g.starts.front() = 1; }));
    EXPECT_TRUE(refused({f, "starts", "7", "6"}, [](Case&, Given& g) { g.starts[1] = 7; }));
    EXPECT_TRUE(refused({f, "slots", "1", "2"}, [](Case&, Given& g) { g.slots.pop_back(); }));
    EXPECT_TRUE(refused({f, "slots", "3"}, [](Case&, Given& g) { g.slots[0] = 3; }));
    EXPECT_TRUE(refused({f, "slots", "-1"}, [](Case&, Given& g) { g.slots[0] = -1; }));
    EXPECT_TRUE(refused({f, "slots", "0", "twice"}, [](Case&, Given& g) { g.slots[0] = 0; }));
    EXPECT_TRUE(refused({f, "slots", "0"}, [](Case&, Given& g) { g.pool.clear(); }));
    EXPECT_TRUE(refused({f, "at"}, [](Case& c, Given&) { c.options.at = {{1}}; }));
    EXPECT_TRUE(refused({f, "pool", "nan"}, [](Case& c, Given& g) {
        c.options.check_data = true, g.pool.back() = std::numeric_limits<float>::quiet_NaN();
    }));
}

}  // namespace
}  // namespace attenta_test
