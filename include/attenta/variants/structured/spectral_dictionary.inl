#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/variants/structured/kernels.hpp>
#include <attenta/variants/structured/spectral_dictionary.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

inline void check_spectral(const SpectralDictionaryInputs& x, const Matrices<float>& o,
                           const SpectralDictionaryOptions& options) {
    CheckedCall check("spectral_dictionary", InputList(x));
    if (options.length) check.at_least("length", *options.length, 1);
    if (o.heads != 1) check.refuse("o has " + checks::text(o.heads) + " matrices, needs 1");
    check.output("o", Heads<float>{o.data, 1, o.rows, o.cols, 0, o.row_stride}, 1, x.coefficients.rows,
                 x.amplitude.cols);
}

/// x as a float, and as 12 bits and a rest that holds what a float would lose.
inline structured::SpectralTime spectral_time(double x) {
    const auto whole = static_cast<float>(x),
               high = std::bit_cast<float>(std::bit_cast<std::uint32_t>(whole) & 0xfffff000u);
    return {whole, high, static_cast<float>(x - static_cast<double>(high))};
}

}  // namespace detail

ATTENTA_INLINE void spectral_dictionary(const SpectralDictionaryInputs& x, Matrices<float> o,
                                        const SpectralDictionaryOptions& options, Context& context) {
    detail::check_spectral(x, o, options);
    constexpr std::int64_t together = 4;
    const std::int64_t tokens = x.coefficients.rows, parts = (tokens + together - 1) / together;
    const auto length = static_cast<double>(options.length.value_or(tokens));
    const structured::SpectralAtoms atoms{x.amplitude,       x.frequency,       x.phase,
                                          x.amplitude_slope, x.frequency_slope, x.phase_slope};
    run_tasks(context.executor(), parts, [&](std::int64_t i, int) {
        const std::int64_t begin = i * together;
        structured::SpectralTime times[together];
        for (std::int64_t t = 0; t < together; ++t)
            times[t] =
                detail::spectral_time((static_cast<double>(begin + t) + static_cast<double>(options.offset)) / length);
        structured::sum_atoms()({&atoms, x.coefficients.row(0, begin), times, x.coefficients.row_stride,
                                 std::min(together, tokens - begin), o.row_stride},
                                o.row(0, begin));
    });
}

ATTENTA_END
