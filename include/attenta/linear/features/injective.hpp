// Injective linear attention (InLine): weights normalised by subtraction, so that they sum to 1 and differ for queries that
// differ. Han et al. 2024, "Bridging the Divide: Reconsidering Softmax and Linear Attention", eq. 5.
//
//   a_ij = s φ(q_i)·φ(k_j)/n − (1/n) Σ_t s φ(q_i)·φ(k_t)/n + 1/n,   n keys
//   o_i  = Σ_j a_ij v_j + local_i = s φ(q_i)ᵀ (Σ_j φ(k_j) v_jᵀ)/n + (1 − s φ(q_i)·k̄) v̄ + local_i
//
//   φ is the identity, relu, leaky_relu (0.01) or e^{temperature x}. local_i, where there are weights for it, is a 3×3
//   convolution, a filter per channel, of the values of tokens prefix .. on, which form a grid in row-major order.
//   Every query reads all keys; there is no causal form. Time T·D·Dv per head, state D·Dv + D + Dv + 1.
#pragma once

#include <attenta/linear/common.hpp>
#include <attenta/linear/features/injective_kernels.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// Hkv divides Hq. local_weight has the nine weights of a filter in row-major order, Taps = 9; with it Tq = Tk = prefix + height · width.
struct InjectiveInputs {
    Heads<const float> q, k, v, local_weight = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("local_weight", x.local_weight, "[Hq, Taps, Dv]", Input::optional);
    }
};

struct InjectiveOptions {
    InjectiveFeature feature = InjectiveFeature::identity;
    float temperature = 0.2f;                      ///< of exp
    std::optional<float> scale = {};               ///< s, default 1/sqrt(D); any finite value
    std::int64_t grid_height = 0, grid_width = 0;  ///< of the tokens, with local_weight
    std::int64_t prefix = 0;                       ///< tokens in front of the grid
    bool check_data = false;                       ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("feature", o.feature, "identity, relu, leaky_relu or exp");
        visit("temperature", o.temperature, "exp is of temperature x");
        visit("scale", o.scale, "factor of the products of features, default 1/sqrt(D)");
        visit("grid_height", o.grid_height, "rows of the grid, with local_weight");
        visit("grid_width", o.grid_width, "columns of the grid");
        visit("prefix", o.prefix, "tokens in front of the grid");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has the sums of all keys so far: φ(k) vᵀ and, in its last row, v, F = D + 1; its normalizer
/// [Hkv, F] φ(k) and their number.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void injective(const InjectiveInputs& x, Heads<float> o, LinearState& state, const InjectiveOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/injective.inl>
#endif
