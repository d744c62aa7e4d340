#include <attenta/softmax/positions/modulated_positional.hpp>

#include <numbers>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::ModulatedPositionalInputs, attenta::ModulatedPositionalOptions;

/// q_pos of a head and an anchor.
std::vector<double> positional_query(const ModulatedPositionalInputs& x, const ModulatedPositionalOptions& o,
                                     std::int64_t h, std::int64_t n) {
    const std::int64_t M = x.w_pos.tokens, half = M / 2;
    const float* const anchor = x.anchors.row(0, n);  // x, y, w, h
    std::vector<double> q(static_cast<std::size_t>(x.w_pos.dim));
    for (std::size_t d = 0; d < q.size(); ++d) q[d] = double{x.b_pos.row(0, h)[d]};
    for (std::int64_t m = 0; m < M; ++m) {
        const std::int64_t c = m % half, axis = m < half ? 1 : 0;  // y first
        const double angle = 2 * std::numbers::pi * double{anchor[axis]} /
                             std::pow(o.temperature, 2.0 * static_cast<double>(c / 2) / static_cast<double>(half));
        double e = c % 2 == 0 ? std::sin(angle) : std::cos(angle);
        if (o.modulate) e *= double{x.ref_wh.row(0, n)[axis]} / double{anchor[2 + axis]};
        if (x.pos_scale) e *= double{x.pos_scale.row(0, n)[m]};
        for (std::size_t d = 0; d < q.size(); ++d) q[d] += e * double{x.w_pos.row(h, m)[d]};
    }
    return q;
}

Naive definition(const ModulatedPositionalInputs& x, const ModulatedPositionalOptions& o) {
    const std::int64_t Hq = x.q.heads, group = Hq / x.k.heads, D = x.q.dim, Dp = x.k_pos.dim;
    std::vector<std::vector<double>> q_pos;
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t n = 0; n < x.q.tokens; ++n) q_pos.push_back(positional_query(x, o, h, n));
    return NaiveAttention{.score =
                              [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                  return naive_scale(o.scale, D + Dp) *
                                         (naive_dot(wide(x.q.row(h, i), D), wide(x.k.row(h / group, j), D)) +
                                          naive_dot(q_pos[static_cast<std::size_t>(h * x.q.tokens + i)],
                                                    wide(x.k_pos.row(h / group, j), Dp)));
                              },
                          .sees = [&](std::int64_t h, std::int64_t i,
                                      std::int64_t j) { return !o.mask || o.mask.row(h, i)[j]; }}(Hq, x.q.tokens, x.v);
}

void fill(AttentionCase& c) {
    for (std::int64_t n = 0; n < c.shape.Tq; ++n) {
        float* const anchor = c.view("anchors").row(0, n);
        for (int i = 0; i < 4; ++i) anchor[i] = 0.05f + 0.5f * std::abs(std::fmod(anchor[i], 1.f));
    }
    for (std::int64_t h = 0; h < c.shape.Hq; ++h)
        for (std::int64_t m = 0; m < c.view("w_pos").tokens; ++m)
            for (std::int64_t d = 0; d < c.view("w_pos").dim; ++d) c.view("w_pos").row(h, m)[d] *= 0.1f;
    if (options_of<ModulatedPositionalOptions>(c).modulate) c.put("ref_wh", 1, c.shape.Tq, 2, 0.3f);
    if (c.shape.Tq % 2 == 1) c.put("pos_scale", 1, c.shape.Tq, c.sizes.at("TM"));
}

const auto& mechanism = test_attention<&attenta::modulated_positional, &definition>(
    {.name = "modulated_positional",
     .variants = {{"unmodulated, temperature",
                   [](AttentionCase& c) {
                       options_of<ModulatedPositionalOptions>(c) = {.temperature = 20, .modulate = false};
                   }},
                  {"mask",
                   [](AttentionCase& c) {
                       const std::int64_t n = c.shape.Tq * c.shape.Tk;
                       c.mask = std::make_unique<bool[]>(static_cast<std::size_t>(n));
                       for (std::int64_t i = 0; i < n; ++i) c.mask[static_cast<std::size_t>(i)] = c.random.chance(0.5);
                       options_of<ModulatedPositionalOptions>(c).mask = {c.mask.get(), 1, c.shape.Tq, c.shape.Tk};
                   }},
                  {"scale, four channels",
                   [](AttentionCase& c) {
                       c.sizes["TM"] = 4, c.sizes["Dp"] = 1;
                       options_of<ModulatedPositionalOptions>(c).scale = 0.4f;
                   }}},
     .sizes = [](AttentionCase& c) { c.sizes["TM"] = 20, c.sizes["Dp"] = 21; },
     .fill = fill});

TEST(ModulatedPositional, GivesPositionalQueries) {
    const AttentionCase c = attention_case(mechanism, {4, 2, 19, 30, 16, 8});
    const auto x = inputs_of<ModulatedPositionalInputs>(c);
    Output got = output_of(c);
    std::vector<float> q_pos(4 * 19 * 21);
    attenta::ModulatedPositionalOutputs out;
    out.o = got.o.view(), out.q_pos = q_pos.data();
    attenta::modulated_positional(x, out);
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t n = 0; n < 19; ++n) {
            const auto want = positional_query(x, {}, h, n);
            for (std::int64_t d = 0; d < 21; ++d)
                EXPECT_NEAR(double{q_pos[static_cast<std::size_t>((h * 19 + n) * 21 + d)]},
                            want[static_cast<std::size_t>(d)], 1e-5);
        }
}

TEST(ModulatedPositional, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24});
        spoil(c, options_of<ModulatedPositionalOptions>(c));
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    using O = ModulatedPositionalOptions;
    const char* const f = "modulated_positional";
    EXPECT_TRUE(refused({f, "anchors", "w"}, [](AttentionCase& c, O&) { c.view("anchors").row(0, 3)[2] = 0; }));
    EXPECT_TRUE(refused({f, "anchors", "h"}, [](AttentionCase& c, O&) { c.view("anchors").row(0, 3)[3] = -1; }));
    EXPECT_TRUE(refused({f, "ref_wh"}, [](AttentionCase& c, O&) { c.floats.erase("ref_wh"); }));
    EXPECT_TRUE(refused({f, "w_pos", "18"},
                        [](AttentionCase& c, O&) { c.view("w_pos").tokens = 18, c.floats.erase("pos_scale"); }));
    EXPECT_TRUE(refused({f, "pos_scale", "19"}, [](AttentionCase& c, O&) { c.put("pos_scale", 1, 9, 19); }));
    EXPECT_TRUE(refused({f, "temperature"}, [](AttentionCase&, O& o) { o.temperature = 0; }));
}

}  // namespace
}  // namespace attenta_test
