#include <attenta/variants/structured/spectral_dictionary.hpp>

#include <limits>
#include <numbers>

#include "support/errors.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::SpectralDictionaryInputs, attenta::SpectralDictionaryOptions;

//   o_t = Σ_k c_tk (A + A' x) sin(2π (F + F' x) x + Φ + Φ' x),  x = (t + offset) / length
Wanted definition(const SpectralDictionaryInputs& in, const SpectralDictionaryOptions& options) {
    std::vector<double> o;
    const std::int64_t T = in.coefficients.rows;
    for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t d = 0; d < in.amplitude.cols; ++d) {
            const double x = static_cast<double>(t + options.offset) / static_cast<double>(options.length.value_or(T));
            double sum = 0;
            for (std::int64_t k = 0; k < in.amplitude.rows; ++k) {
                const auto of = [&](const auto& start, const auto& slope) {
                    return double{start.row(0, k)[d]} + (slope ? double{slope.row(0, k)[d]} * x : 0);
                };
                sum += double{in.coefficients.row(0, t)[k]} * of(in.amplitude, in.amplitude_slope) *
                       std::sin(2 * std::numbers::pi * of(in.frequency, in.frequency_slope) * x +
                                of(in.phase, in.phase_slope));
            }
            o.push_back(sum);
        }
    return {{"o", o}};
}

SpectralDictionaryInputs draw(Drawn& d, std::int64_t T, std::int64_t K, std::int64_t D, bool drift, float frequency) {
    SpectralDictionaryInputs x;
    x.coefficients = d.matrix(T, K, 0.3f), x.amplitude = d.matrix(K, D), x.frequency = d.matrix(K, D, frequency),
    x.phase = d.matrix(K, D, 3);
    if (drift)
        x.amplitude_slope = d.matrix(K, D, 0.3f), x.frequency_slope = d.matrix(K, D), x.phase_slope = d.matrix(K, D);
    return x;
}

void expect_definition(const SpectralDictionaryInputs& x, const SpectralDictionaryOptions& options,
                       double absolute = 2e-5) {
    expect_everywhere(
        [&](Context& context) {
            Room o(1, x.coefficients.rows, x.amplitude.cols);
            attenta::spectral_dictionary(x, o.matrix(), options, context);
            return Results{{"o", o.rows()}};
        },
        definition(x, options), absolute);
}

TEST(SpectralDictionary, EqualsItsDefinition) {
    for (const auto& [T, K, D] : {std::array<std::int64_t, 3>{1, 1, 1}, {45, 11, 19}, {31, 7, 26}, {130, 3, 16}})
        for (const bool drift : {false, true}) {
            Drawn d(static_cast<std::uint64_t>(T), T == 45 ? 2 : 0);
            const auto x = draw(d, T, K, D, drift, 2);
            expect_definition(x, {});
            expect_definition(x, {.offset = 40, .length = 64}, 5e-5);
            expect_definition(x, {.offset = -3, .length = 7}, 5e-4);
        }
}

/// Whole turns leave without rounding: a sine of a million radians has its digits.
TEST(SpectralDictionary, ManyTurns) {
    Drawn d(5);
    expect_definition(draw(d, 20, 4, 9, false, 3000), {.offset = 1000, .length = 37}, 1e-4);
}

/// Later tokens of a sequence can come in another call.
TEST(SpectralDictionary, CanBeCut) {
    Drawn d(6);
    auto x = draw(d, 21, 5, 10, true, 2);
    Room whole(1, 21, 10), part(1, 8, 10);
    attenta::spectral_dictionary(x, whole.matrix());
    x.coefficients.data = x.coefficients.row(0, 13), x.coefficients.rows = 8;
    attenta::spectral_dictionary(x, part.matrix(), {.offset = 13, .length = 21});
    const auto all = whole.rows(), later = part.rows();
    for (std::size_t i = 0; i < later.size(); ++i) EXPECT_NEAR(later[i], all[130 + i], 1e-6);
}

TEST(SpectralDictionary, KeepsNanInItsRowsAndChannels) {
    Drawn d(7);
    const auto x = draw(d, 9, 3, 10, false, 2);
    const_cast<float*>(x.coefficients.row(0, 5))[1] = std::numeric_limits<float>::quiet_NaN();
    const_cast<float*>(x.frequency.row(0, 2))[7] = std::numeric_limits<float>::infinity();
    on_every_isa([&](Context& context) {
        Room o(1, 9, 10);
        attenta::spectral_dictionary(x, o.matrix(), {}, context);
        const auto rows = o.rows();
        for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(std::isnan(rows[i]), i / 10 == 5 || i % 10 == 7) << i;
    });
}

TEST(SpectralDictionaryErrors, RefusesWhatDoesNotFit) {
    Drawn d(1);
    const auto good = draw(d, 9, 3, 10, true, 2);
    Room room(1, 9, 10);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            auto x = good;
            SpectralDictionaryOptions options;
            auto o = room.matrix();
            change(x, o, options);
            attenta::spectral_dictionary(x, o, options);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.phase.rows = 2; }),
                        {"spectral_dictionary", "phase", "2", "3"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.amplitude.data = nullptr; }), {"amplitude", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& options) { options.length = 0; }), {"length", "0"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.cols = 9; }), {"o", "9", "10"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto& o, auto&) { o.data = const_cast<float*>(x.phase.data); }), {"o", "phase"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
