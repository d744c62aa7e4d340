// The weighted key-value of RWKV-4 equals its definition, at any cut; its errors.
#include <attenta/linear/recurrent/rwkv4_wkv.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "linear/support/recurrence.hpp"

namespace attenta_test {
namespace {

double naive_max(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b); }

/// Variants: plain, with receptance, large keys, decays of all sizes.
struct Rwkv4 {
    using Inputs = attenta::Rwkv4WkvInputs;
    using Options = attenta::Rwkv4WkvOptions;
    static constexpr const char* name = "rwkv4_wkv";
    static constexpr int variants = 4;
    static constexpr double tolerance = 1e-3;  // m + g is summed at the size of the keys

    static void draw(RecurrenceCase<Rwkv4>& c, bool past) {
        c.put(c.x.k, c.H, c.T, c.D, c.variant == 2 ? 40.f : 1.f);
        c.put(c.x.v, c.H, c.T, c.D);
        c.put_gates(c.x.g, 1, c.variant == 3);
        c.put(c.x.u, c.H, 1, c.D);
        if (c.variant == 1) c.put(c.x.r, c.H, c.T, c.D);
        if (!past) return;
        c.past = LinearState(c.H, 3, c.D);
        c.past.matrix = c.random.normals(c.H * 3 * c.D);
        for (std::int64_t h = 0; h < c.H; ++h)
            for (std::int64_t i = 0; i < c.D; ++i) {
                float& b = c.past.of(h)[c.D + i];
                b = 0.5f + std::abs(b);
            }
    }
    static void call(const Inputs& x, Out o, LinearState& state, const Options& options, Context& context) {
        attenta::rwkv4_wkv(x, o, state, options, context);
    }

    //   p = max(m, u+k),   o = (e^{m−p} a + e^{u+k−p} v) / (e^{m−p} b + e^{u+k−p})
    //   m' = max(m+g, k),  a ← e^{m+g−m'} a + e^{k−m'} v,   b ← e^{m+g−m'} b + e^{k−m'}
    static NaiveRecurrence definition(const Inputs& x, const Options&, const LinearState& past) {
        const std::int64_t H = x.k.heads, T = x.k.tokens, D = x.k.dim;
        NaiveRecurrence r{std::vector<double>(static_cast<std::size_t>(H * T * D)), naive_past(past.matrix, H * 3 * D)};
        for (std::int64_t h = 0; h < H; ++h)
            for (std::int64_t c = 0; c < D; ++c) {
                double &a = at(r.state, h * 3 * D + c), &b = at(r.state, (h * 3 + 1) * D + c),
                       &m = at(r.state, (h * 3 + 2) * D + c);
                if (past.empty()) m = -1e38;
                const double g = double{x.g.row(h, 0)[c]}, u = double{x.u.row(h, 0)[c]};
                for (std::int64_t t = 0; t < T; ++t) {
                    const double k = double{x.k.row(h, t)[c]}, v = double{x.v.row(h, t)[c]};
                    const double p = naive_max(m, u + k), e = std::exp(m - p), f = std::exp(u + k - p);
                    const double gate = x.r.data ? 1 / (1 + std::exp(-double{x.r.row(h, t)[c]})) : 1;
                    at(r.o, (h * T + t) * D + c) = gate * (e * a + f * v) / (e * b + f);
                    const double next = naive_max(m + g, k), back = std::exp(m + g - next), add = std::exp(k - next);
                    a = back * a + add * v, b = back * b + add, m = next;
                }
            }
        return r;
    }
};

TEST(Rwkv4Wkv, EqualsItsDefinition) { expect_definition_of_all_shapes<Rwkv4>(Rwkv4::variants); }
TEST(Rwkv4Wkv, CutsChangeNoBit) { expect_cuts_change_no_bit<Rwkv4>(Rwkv4::variants); }
TEST(Rwkv4Wkv, LayoutsAndThreadsChangeNoBit) { expect_layouts_and_threads_change_no_bit<Rwkv4>(Rwkv4::variants); }
TEST(Rwkv4Wkv, NanIsWhereTheDefinitionHasIt) { expect_nan_of_the_definition<Rwkv4>(2); }

TEST(Rwkv4Wkv, TheFirstTokenGivesItsValue) {
    const RecurrenceCase<Rwkv4> c(2, 1, 9);
    Context context;
    EXPECT_LE(distance(rows_of(run(c, context).o), rows_of(c.memory[1])), 1e-6);
}

TEST(Rwkv4WkvErrors, InputsOutputsAndStates) {
    expect_errors_of_inputs<Rwkv4>(1);
    expect_errors_of_outputs<Rwkv4>();
    EXPECT_TRUE((refused<Rwkv4>({"g", "0.250000"}, [](RecurrenceCase<Rwkv4>& c, Out&, LinearState&) {
        c.options.check_data = true;
        c.memory[2].row(1, 0)[4] = 0.25f;
    })));
}

}  // namespace
}  // namespace attenta_test
