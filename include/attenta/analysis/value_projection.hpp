// The vocabulary in what keys write through heads, for one query. Katz and Belinkov 2023, "Interpreting Transformer's Attention Dynamic
// Memory and Visualizing the Semantic Information Flow of GPT".
//
//   memory_hj = v_j W_O of query head h,   head_out_h = Σ_j attn_hj memory_hj,   value_weight_hj = attn_hj |memory_hj|
//   head_probs_h = softmax(norm(head_out_h) U),   value_logits_hj = norm(memory_hj) U
//   rank_h = 1 + tokens of a higher probability than `target`
//
// norm: layernorm (x − mean) / sqrt(variance + eps) norm_w + norm_b, rms x / sqrt(mean x² + eps) norm_w, none. The layer's output bias is
// left out. Time Hq·(Tk·Dv + Dv·d + d·V); value_logits are Hq·Tk·(Dv·d + d·V) more, and are left out where they are not wanted.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class ProjectionNorm : std::uint8_t { layernorm, rms, none };
constexpr std::array<std::string_view, 3> names_of(ProjectionNorm) { return {"layernorm", "rms", "none"}; }

struct ValueProjectionInputs {
    DenseTensor<const float, 2> attn;
    Heads<const float> v;
    DenseTensor<const float, 3> w_o;
    DenseTensor<const float, 2> unembed;
    std::span<const float> norm_w = {}, norm_b = {};  ///< norm_w: layernorm and rms, norm_b: layernorm

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[Hq, Tk]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("w_o", x.w_o, "[Hq, Dv, d]");
        visit("unembed", x.unembed, "[d, V]");
        visit("norm_w", x.norm_w, "[d]", Input::optional);
        visit("norm_b", x.norm_b, "[d]", Input::optional);
    }
};

struct ValueProjectionOptions {
    ProjectionNorm norm = ProjectionNorm::layernorm;
    double eps = 1e-5;
    std::int64_t target = 0;  ///< token whose rank is asked for
    std::int64_t top = 3;     ///< tokens that are listed, 1 to V

    static void fields(auto&& visit, auto& o) {
        visit("norm", o.norm, "layernorm, rms or none");
        visit("eps", o.eps, "what keeps the norm from 0");
        visit("target", o.target, "token whose rank is asked for");
        visit("top", o.top, "tokens that are listed");
    }
};

struct ValueProjectionOutputs {
    float *head_out = nullptr, *head_probs = nullptr, *value_logits = nullptr, *value_weight = nullptr;
    std::int64_t *rank = nullptr, *top_tokens = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("head_out", out.head_out, "[Hq, d]");
        visit("head_probs", out.head_probs, "[Hq, V]");
        visit("value_logits", out.value_logits, "[Hq, Tk, V]");
        visit("value_weight", out.value_weight, "[Hq, Tk]");
        visit("rank", out.rank, "[Hq]");
        visit("top_tokens", out.top_tokens, "[Hq, S]");
    }
    static void sizes(auto&& set, const ValueProjectionInputs&, const ValueProjectionOptions& o) { set("S", o.top); }
};

/// Throws Error on shapes and options that do not fit, without what the norm needs, and on numbers that are not finite; nothing is
/// written then.
void value_projection(const ValueProjectionInputs& x, const ValueProjectionOutputs& out,
                      const ValueProjectionOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/value_projection.inl>
#endif
