// Tokens from a dictionary of sinusoids over time. Kiruluta 2025, "From Attention to Atoms: Spectral Dictionary Learning for Fast,
// Interpretable Language Models".
//
//   o_t = Σ_k c_tk S_k(t),  S_k(t)_d = A_kd sin(2π F_kd x + Φ_kd),  x = (t + offset) / length
//   with slopes A + A' x in place of A, and F and Φ alike: a linear drift, an extension
//
// The wave as a sine of t over the length is a reading of the paper's architecture figure. Whole turns are left out before the sine,
// without rounding. Time T K D.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

struct SpectralDictionaryInputs {
    Matrices<const float> coefficients, amplitude, frequency, phase;
    Matrices<const float> amplitude_slope = {}, frequency_slope = {}, phase_slope = {};

    static void list(auto&& visit, auto& x) {
        visit("coefficients", x.coefficients, "[T, K]");
        visit("amplitude", x.amplitude, "[K, D]");
        visit("frequency", x.frequency, "[K, D]");
        visit("phase", x.phase, "[K, D]");
        visit("amplitude_slope", x.amplitude_slope, "[K, D]", Input::optional);
        visit("frequency_slope", x.frequency_slope, "[K, D]", Input::optional);
        visit("phase_slope", x.phase_slope, "[K, D]", Input::optional);
    }
};

struct SpectralDictionaryOptions {
    std::int64_t offset = 0;                  ///< t of the first token
    std::optional<std::int64_t> length = {};  ///< what t is divided by, default T

    static void fields(auto&& visit, auto& o) {
        visit("offset", o.offset, "time of the first token");
        visit("length", o.length, "what times are divided by, default T");
    }
};

/// o [T, D], one matrix. Throws Error on shapes that do not fit and on a length below 1; nothing is written then.
void spectral_dictionary(const SpectralDictionaryInputs& x, Matrices<float> o,
                         const SpectralDictionaryOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/variants/structured/kernels.inl>
#include <attenta/variants/structured/spectral_dictionary.inl>
#endif
