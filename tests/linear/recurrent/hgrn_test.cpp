// HGRN equals its definition, at any cut; its errors.
#include <attenta/linear/recurrent/hgrn.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "linear/support/recurrence.hpp"

namespace attenta_test {
namespace {

using attenta::HgrnInputGate;

/// Variants: plain, tied, tied with gates that keep nearly all, gates of all sizes.
struct Hgrn {
    using Inputs = attenta::HgrnInputs;
    using Options = attenta::HgrnOptions;
    static constexpr const char* name = "hgrn";
    static constexpr int variants = 4;
    static constexpr double tolerance = 2e-4;

    static void draw(RecurrenceCase<Hgrn>& c, bool past) {
        c.put(c.x.v, c.H, c.T, c.D);
        c.put_gates(c.x.g, c.T, c.variant == 3);
        if (c.variant == 2)
            c.memory.back().each_row([&](float* row, std::int64_t, std::int64_t) {
                for (std::int64_t i = 0; i < c.D; ++i) row[i] *= 1e-5f;
            });
        if (c.variant > 0) c.options.input_gate = HgrnInputGate::tied;
        if (!past) return;
        c.past = LinearState(c.H, 1, c.D);
        c.past.matrix = c.random.normals(c.H * c.D);
    }
    static void call(const Inputs& x, Out o, LinearState& state, const Options& options, Context& context) {
        attenta::hgrn(x, o, state, options, context);
    }

    //   h_t = exp(g_t) h_{t-1} + i_t,   o = h,   i = v or (1 − exp g) v
    static NaiveRecurrence definition(const Inputs& x, const Options& options, const LinearState& past) {
        const std::int64_t H = x.v.heads, T = x.v.tokens, D = x.v.dim;
        NaiveRecurrence r{std::vector<double>(static_cast<std::size_t>(H * T * D)), naive_past(past.matrix, H * D)};
        for (std::int64_t h = 0; h < H; ++h)
            for (std::int64_t t = 0; t < T; ++t)
                for (std::int64_t c = 0; c < D; ++c) {
                    const double g = double{x.g.row(h, t)[c]}, v = double{x.v.row(h, t)[c]};
                    double& s = at(r.state, h * D + c);
                    s = std::exp(g) * s + (options.input_gate == HgrnInputGate::tied ? -std::expm1(g) : 1) * v;
                    at(r.o, (h * T + t) * D + c) = s;
                }
        return r;
    }
};

TEST(Hgrn, EqualsItsDefinition) { expect_definition_of_all_shapes<Hgrn>(Hgrn::variants); }
TEST(Hgrn, CutsChangeNoBit) { expect_cuts_change_no_bit<Hgrn>(Hgrn::variants); }
TEST(Hgrn, LayoutsAndThreadsChangeNoBit) { expect_layouts_and_threads_change_no_bit<Hgrn>(Hgrn::variants); }
TEST(Hgrn, NanIsWhereTheDefinitionHasIt) { expect_nan_of_the_definition<Hgrn>(Hgrn::variants); }

/// Of 1 − exp g the single precision difference would keep one digit.
TEST(Hgrn, TiedInputsOfGatesNearOneKeepTheirDigits) {
    const float v = 3, g = -1e-6f;
    float o = 0;
    LinearState state;
    attenta::hgrn({.v = attenta::hnd(&v, 1, 1, 1), .g = attenta::hnd(&g, 1, 1, 1)}, attenta::hnd(&o, 1, 1, 1), state,
                  {.input_gate = HgrnInputGate::tied});
    EXPECT_NEAR(double{o}, 3e-6, 3e-12);
}

TEST(HgrnErrors, InputsOutputsAndStates) {
    expect_errors_of_inputs<Hgrn>(0);
    expect_errors_of_outputs<Hgrn>();
    EXPECT_TRUE((refused<Hgrn>({"g", "0.250000"}, [](RecurrenceCase<Hgrn>& c, Out&, LinearState&) {
        c.options.check_data = true;
        c.memory[1].row(1, 3)[4] = 0.25f;
    })));
}

}  // namespace
}  // namespace attenta_test
