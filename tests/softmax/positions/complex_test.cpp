#include <attenta/softmax/positions/complex.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::ComplexInputs, attenta::ComplexOptions;

Naive definition(const ComplexInputs& x, const ComplexOptions& o) {
    const std::int64_t Hq = x.q.heads, group = Hq / x.k.heads, Tq = x.q.tokens, Tk = x.k.tokens, pairs = x.q.dim / 2,
                       offset = o.visibility.q_offset.value_or(Tk - Tq);
    const auto magnitude = [&](const float* row, std::int64_t c) {
        const double re = double{row[c]}, im = double{row[c + pairs]};
        return std::sqrt(re * re + im * im + 1e-9);
    };
    const auto phase = [&](const float* row, std::int64_t c) {
        return std::atan2(double{row[c + pairs]}, double{row[c]});
    };
    return NaiveAttention{
        .score =
            [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                const float *q = x.q.row(h, i), *k = x.k.row(h / group, j);
                double s = 0;
                for (std::int64_t c = 0; c < pairs; ++c) {
                    const double g = std::pow(o.base, -2.0 * static_cast<double>(c) / static_cast<double>(2 * pairs));
                    const double angle = double{x.delta.row(0, h)[c]} * (phase(q, c) - phase(k, c)) +
                                         double{x.phase_bias.row(0, h)[c]} + static_cast<double>(i + offset - j) * g;
                    s += magnitude(q, c) * magnitude(k, c) * std::cos(angle);
                }
                return double{o.scale.value_or(1)} * s;
            },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(o.visibility, h, i, Tq, j, Tk); }}(Hq, Tq, x.v);
}

void smaller(AttentionCase& c) {
    for (std::int64_t h = 0; h < c.shape.Hq; ++h)
        for (std::int64_t t = 0; t < c.shape.Tq; ++t)
            for (std::int64_t d = 0; d < c.shape.D; ++d) c.view("q").row(h, t)[d] *= 0.3f;
}

const auto& mechanism = test_attention<&attenta::complex, &definition>(
    {.name = "complex",
     .variants = {{"base and scale",
                   [](AttentionCase& c) { options_of<ComplexOptions>(c) = {.scale = -0.5f, .base = 30}; }},
                  {"far positions",
                   [](AttentionCase& c) { options_of<ComplexOptions>(c).visibility.q_offset = 123456; }}},
     .fill = smaller});

/// On the axes the sign of zeros decides the phase, and points without a length have one.
TEST(Complex, PhasesOnTheAxes) {
    AttentionCase c = attention_case(mechanism, {2, 1, 20, 30, 18, 8});
    const float points[][2] = {{-1, 0.f}, {-1, -0.f}, {0.f, 0.f}, {-0.f, 0.f}, {-0.f, -0.f}, {0.f, -0.f},  {1, 0},
                               {0, 1},    {0, -1},    {1, 1},     {-1, -1},    {1e-30f, -1}, {-2, 1e-30f}, {1, -0.f}};
    for (std::int64_t n = 0; n < 14; ++n)
        for (std::int64_t d = 0; d < 9; ++d) {
            c.view("k").row(0, n)[d] = points[n][0];
            c.view("k").row(0, n)[d + 9] = points[n][1];
        }
    on_every_isa([&](Context& context) {
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, mechanism.naive(c)));
    });
}

TEST(Complex, Refuses) {
    AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24});
    Output out = output_of(c);
    Context context;
    options_of<ComplexOptions>(c).base = -1;
    EXPECT_TRUE(refuses([&] { call(c, out, context); }, {"complex", "base", "-1"}));
    options_of<ComplexOptions>(c).base = 10000;
    c.view("q").dim = c.view("k").dim = 15;
    EXPECT_TRUE(refuses([&] { call(c, out, context); }, {"complex", "q", "15"}));
}

}  // namespace
}  // namespace attenta_test
