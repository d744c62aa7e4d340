// Delta rule (DeltaNet). Schlag et al. 2021; Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule".
//
//   S ← S_{t-1};   S_t = S + β_t k_t (v_t − Sᵀ k_t)ᵀ;   o_t = scale · S_tᵀ q_t
//
//   In chunks: the corrected values of a chunk solve a unit triangular system (WY form). Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

ATTENTA_BEGIN

struct DeltaRuleOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool qk_l2norm = false;           ///< q and k are divided by sqrt(Σ x² + eps) first
    float eps = 1e-6f;
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, DeltaRuleOptions>
void fields(Visitor&& visit, Options& o) {
    visit("scale", o.scale, "factor of the output, default 1/sqrt(D)");
    visit("qk_l2norm", o.qk_l2norm, "normalise q and k");
    visit("eps", o.eps, "added to the squared norm");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], beta [Hs, T, 1]; o [Ho, T, Dv].
/// Heads as in gla.hpp: Hs = max(Hk, Hv) state heads, Ho = max(Hq, Hs) output heads.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void delta_rule(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> beta,
                Heads<float> o, LinearState& state, const DeltaRuleOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/linear/delta_rule.inl>
#endif
