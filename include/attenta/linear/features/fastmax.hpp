// Fastmax: softmax's exponential as a polynomial of normalised queries and keys. Gerami et al. 2024, "FAST: Factorizable
// Attention for Speeding up Transformers".
//
//   x_ij = scale · q̃_i·k̃_j,   f(x) = Σ_{l<=degree} c_l x^l,   o_i = Σ_j f(x_ij) v_j / Σ_j f(x_ij)
//
//   none             x̃ = x
//   max_norm         x̃ = radius x / max_t |x_t|, q and k and each head for themselves
//   center_features  the mean of a token's features off each of them, then max_norm
//   center_tokens    the mean of a feature's tokens off each of them, then max_norm
//   standardize      a token's features to mean 0 and variance 1
//
//   f is a product of features, the state a sum over keys of their products [1, k̃_a, k̃_a k̃_b for a <= b] and values: moments,
//   without coefficients and scale. Time T·F·Dv per head, state F·(Dv + 1), F = 1 + D + D(D + 1)/2, or 1 + D.
//   As published, what max_norm and its kin measure they measure in all tokens of the call, a causal one's future included;
//   for streaming there are none and standardize. With degree 1 f is above 0 only for |x| < 1.
//   Features sum up to what |q̃||k̃| makes of f: where that is far above that of q̃·k̃, digits are lost.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class FastmaxNormalize : std::uint8_t { none, max_norm, center_features, center_tokens, standardize };
constexpr std::array<std::string_view, 5> names_of(FastmaxNormalize) {
    return {"none", "max_norm", "center_features", "center_tokens", "standardize"};
}

/// Hkv divides Hq; causal calls have Tq <= Tk.
struct FastmaxInputs {
    Heads<const float> q, k, v;
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

struct FastmaxOptions {
    bool causal = false;      ///< query i stands at Tk − Tq + i and reads keys up to its own
    std::int64_t degree = 2;  ///< 1 or 2
    FastmaxNormalize normalize = FastmaxNormalize::center_features;
    float radius = 1;  ///< > 0, the length of the longest normalised token
    float scale = 1;   ///< of q̃·k̃
    std::array<float, 3> coefficients = {1, 1, 0.5f};
    bool check_data = false;  ///< refuse NaN anywhere, for a pass over all inputs
    float* norm = nullptr;    ///< [Hq, Tq], where given: takes the denominators, in a run of their own

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("degree", o.degree, "of the polynomial, 1 or 2");
        visit("normalize", o.normalize, "none, max_norm, center_features, center_tokens or standardize");
        visit("radius", o.radius, "length of the longest normalised token");
        visit("scale", o.scale, "factor of q·k");
        visit("coefficients", o.coefficients, "of the powers 0, 1 and 2");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, F].
/// Throws Error on shapes that do not fit, on tokens that have nothing to normalise, and on bad numbers with `check_data`;
/// nothing is written then.
void fastmax(const FastmaxInputs& x, Heads<float> o, LinearState& state, const FastmaxOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/fastmax.inl>
#endif
