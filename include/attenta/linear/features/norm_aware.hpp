// Norm-aware linear attention (NaLaFormer): a query's length is the exponent of its features. Meng et al. 2025, "NaLaFormer:
// Norm-Aware Linear Attention for Transformer Models".
//
//   x̂ = x/|x|,  e_i = power (1/2 + tanh |q_i|),  k' = sign(k)|k|^power
//   split:   φ(q) = [relu(q̂)^e, relu(−q̂)^e],              φ(k) = [relu(k'), relu(−k')]
//   cosine:  φ(q) = [|q̂|^e cos b_q, |q̂|^e sin b_q],        φ(k) = [|k'| cos b_k, |k'| sin b_k]
//            b = π/4 − a,  a = (π/4) tanh(alpha x̂),  or x̂ with the angle "direction"
//   o_i = Σ_j (R φ(q_i))·(R φ(k_j)) v_j / (Σ_j φ(q_i)·φ(k_j) + n_i eps),   n_i keys
//
//   The paper has a in place of b, which is the same in every product; in b positive and negative entries are apart, as they
//   are in split, and weights near 0 no differences. R turns pairs of features by the tables, if there are any: of the numerator alone, so that its denominator is a run of its own.
//   Time T·D·Dv per head, state 2 D·(Dv + 1).
#pragma once

#include <attenta/linear/common.hpp>
#include <attenta/linear/features/norm_aware_kernels.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class NormAwareFeature : std::uint8_t { cosine, split };
constexpr std::array<std::string_view, 2> names_of(NormAwareFeature) { return {"cosine", "split"}; }
enum class NormAwareAngle : std::uint8_t { tanh, direction };
constexpr std::array<std::string_view, 2> names_of(NormAwareAngle) { return {"tanh", "direction"}; }

/// Hkv divides Hq; causal calls have Tq <= Tk. The tables, both or none, have a row for each key; causal query i has that of key
/// Tk − Tq + i, others row i.
struct NormAwareInputs {
    Heads<const float> q, k, v;
    Matrices<const float> rope_cos = {}, rope_sin = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("rope_cos", x.rope_cos, "[Tk, D]", Input::optional);
        visit("rope_sin", x.rope_sin, "[Tk, D]", Input::optional);
    }
};

struct NormAwareOptions {
    NormAwareFeature feature = NormAwareFeature::cosine;
    bool causal = false;                          ///< query i stands at Tk − Tq + i and reads keys up to its own
    float power = 3;                              ///< > 0
    NormAwareAngle angle = NormAwareAngle::tanh;  ///< of cosine
    float alpha = 20;                             ///< > 0, of tanh
    float eps = 1e-6f;                            ///< added to the mean weight
    bool check_data = false;                      ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("feature", o.feature, "cosine or split");
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("power", o.power, "exponent of keys, and of queries before their length counts");
        visit("angle", o.angle, "tanh or direction, of cosine");
        visit("alpha", o.alpha, "gain in the tanh of the angle");
        visit("eps", o.eps, "added to the mean weight");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has F = 2 D, features turned; a normalizer [Hkv, F], which are not; and as weight [Hkv] the
/// number of keys so far.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void norm_aware(const NormAwareInputs& x, Heads<float> o, LinearState& state, const NormAwareOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/norm_aware.inl>
#endif
