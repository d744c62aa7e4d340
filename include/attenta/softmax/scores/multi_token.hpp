// Multi-token attention: scores and weights of neighbouring queries, keys and heads meet. Golovneva et al. 2025, "Multi-Token
// Attention", section 3.
//
//   s = scale · q·k, zero where a key is not seen;  s ← conv(s; kernel_pre);  s_g ← Σ_h head_pre[g, h] s_h
//   p = softmax over the keys seen;  p ← conv(p; kernel_post), zero where a key is not seen;
//   p_c' ← Σ_c p_c head_post[group, c, c'];  o = p v
//   o ← o / sqrt(mean o² + eps) · norm_weight · (1 − (0.8 − 0.6 e^(−0.3 depth)));  o ← o ⊙ sigmoid(o gate_weightᵀ + gate_bias)
//   conv(x)[h, i, j] = Σ_ab kernel[h, a, b] x[h, i − (A − 1) + a, j − left + b]
//
// Causal. Ranges of queries go through all steps with a halo of A − 1 rows for each kernel, so that memory is range · Tk for each
// head. Queries before the first given one count as zeros: a stream passes the halo's queries again and drops their outputs.
#pragma once

#include <attenta/softmax/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

/// All but q and kv may be missing. C heads of a group are mixed behind the softmax; Dg is 1 or Dv.
struct MultiTokenInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> kernel_pre = {}, kernel_post = {};
    Matrices<const float> head_pre = {};
    Heads<const float> head_post = {};
    std::span<const float> norm_weight = {};
    Matrices<const float> gate_weight = {};
    std::span<const float> gate_bias = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("kernel_pre", x.kernel_pre, "[Hq, A, B]", Input::optional);
        visit("kernel_post", x.kernel_post, "[Hq, Ap, Bp]", Input::optional);
        visit("head_pre", x.head_pre, "[Hq, Hq]", Input::optional);
        visit("head_post", x.head_post, "[Gp, C, C]", Input::optional);
        visit("norm_weight", x.norm_weight, "[Dv]", Input::optional);
        visit("gate_weight", x.gate_weight, "[Dg, Dv]", Input::optional);
        visit("gate_bias", x.gate_bias, "[Dg]", Input::optional);
    }
};

/// Which keys beside its own a kernel reads.
enum class PadKey : std::uint8_t { both, left, right };
constexpr std::array<std::string_view, 3> names_of(PadKey) { return {"both", "left", "right"}; }

struct MultiTokenOptions {
    std::optional<float> scale = {};         ///< default 1/sqrt(D)
    PadKey pad_key = PadKey::both;           ///< keys on both sides (B odd), before, or behind
    float eps = 1e-5f;                       ///< of the norm, from 0 up
    std::optional<std::int64_t> depth = {};  ///< number of the layer, which scales the norm

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("pad_key", o.pad_key, "both, left or right: where a kernel's other keys are");
        visit("eps", o.eps, "of the norm");
        visit("depth", o.depth, "number of the layer, which scales the norm");
    }
};

/// o [Hq, Tq, Dv]; Tq <= Tk, the queries are the newest tokens. Throws Error on shapes and options that do not fit; nothing is
/// written then.
void multi_token(const MultiTokenInputs& x, Heads<float> o, const MultiTokenOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/engine/dense/layers_kernels.inl>
#include <attenta/softmax/scores/multi_token.inl>
#include <attenta/softmax/scores/multi_token_kernels.inl>
#endif
