// ReGLA. Lu et al. 2025, "ReGLA: Refining Gated Linear Attention".
//
//   φ(q)_i = exp(q_i − max q),   φ(k)_i = exp(k_i − m)       m the largest key of the head so far, or of the token
//   f = sigmoid(gate), r = sigmoid(refine),   F = (1 − r) f² + r (1 − (1 − f)²)
//   S_t = S_{t-1} diag(F_t) + φ(k_t) v_tᵀ,   o_t = norm(scale · S_tᵀ φ(q_t)) over Dv
//
//   Gated linear attention (gla.hpp) with gates of value channels, or of key channels. With the sequence's m a state is in
//   units of e^m, and calls on parts of a sequence differ by one factor per token, which the norms remove up to eps.
//   Keys far below m are lost. Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/feature_maps.hpp>
#include <attenta/linear/row_norm.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class ReglaKeyMax : std::uint8_t { sequence, token };
constexpr std::array<std::string_view, 2> names_of(ReglaKeyMax) { return {"sequence", "token"}; }
enum class ReglaGateAxis : std::uint8_t { value, key };
constexpr std::array<std::string_view, 2> names_of(ReglaGateAxis) { return {"value", "key"}; }

/// gate and refine are logits, G the width of the gated axis, Dv or D.
struct ReglaInputs {
    Heads<const float> q, k, v, gate, refine;
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("gate", x.gate, "[H, T, D] or [H, T, Dv]");
        visit("refine", x.refine, "[H, T, D] or [H, T, Dv]");
    }
};

struct ReglaOptions {
    std::optional<float> scale = {};                 ///< default 1/(e sqrt(D (e² − 1))); any finite value
    ReglaKeyMax key_max = ReglaKeyMax::sequence;     ///< what keys are relative to
    RowNorm norm = RowNorm::rms;                     ///< of each head's outputs
    float eps = 1e-5f;                               ///< of the norm
    ReglaGateAxis gate_axis = ReglaGateAxis::value;  ///< channels that are gated
    bool check_data = false;                         ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output, default 1/(e sqrt(D (e^2 - 1)))");
        visit("key_max", o.key_max, "sequence or token: what keys are relative to");
        visit("norm", o.norm, "rms, layer or none");
        visit("eps", o.eps, "of the norm");
        visit("gate_axis", o.gate_axis, "value or key: channels that are gated");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [H, T, Dv]. With the sequence's maximum the state has key_max [H], and a given one needs it.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void regla(const ReglaInputs& x, Heads<float> o, LinearState& state, const ReglaOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/decay/regla.inl>
#include <attenta/linear/decay/regla_kernels.inl>
#endif
