// Efficient attention: queries and keys normalised for themselves. Shen et al. 2021, "Efficient Attention: Attention with
// Linear Complexities".
//
//   softmax:  o_i = Cᵀ softmax(q_i),  C = Σ_j e^{k_j} v_jᵀ / Σ_j e^{k_j}    (per feature, over all keys)
//   scaling:  o_i = Cᵀ q_i / √n,      C = Σ_j k_j v_jᵀ / √n,  n keys
//
//   Every query reads all keys; there is no causal form. Time T·D·Dv per head, state D·Dv (+ D).
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class EfficientNormalization : std::uint8_t { softmax, scaling };
constexpr std::array<std::string_view, 2> names_of(EfficientNormalization) { return {"softmax", "scaling"}; }

/// Hkv divides Hq.
struct EfficientInputs {
    Heads<const float> q, k, v;
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

struct EfficientOptions {
    EfficientNormalization normalization = EfficientNormalization::softmax;
    bool check_data = false;  ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("normalization", o.normalization, "softmax or scaling");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state is C of all keys so far, with their number as weight [Hkv] and, for softmax, log Σ_j e^{k_j} as
/// normalizer [Hkv, D].
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void efficient(const EfficientInputs& x, Heads<float> o, LinearState& state, const EfficientOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/efficient.inl>
#endif
