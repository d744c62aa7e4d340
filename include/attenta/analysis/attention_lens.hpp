// The vocabulary in the outputs of heads, through a linear map of each. Sakarvadia et al. 2023, "Attention Lens".
//
//   logits_ht = head_out_ht W_h + b_h,   logits_t = Σ_h logits_ht;   of the last token also those of each head, and its top tokens
//
// An untrained lens is the unembedding in every head. Equal logits keep the order of the tokens. Time H·T·d·V.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct AttentionLensInputs {
    DenseTensor<const float, 3> head_out;  ///< outputs of the heads after W_O
    DenseTensor<const float, 3> lens_w;
    DenseTensor<const float, 2> lens_b;

    static void list(auto&& visit, auto& x) {
        visit("head_out", x.head_out, "[H, T, d]");
        visit("lens_w", x.lens_w, "[H, d, V]");
        visit("lens_b", x.lens_b, "[H, V]");
    }
};

struct AttentionLensOptions {
    std::int64_t top = 5;  ///< tokens that are listed, 1 to V

    static void fields(auto&& visit, auto& o) { visit("top", o.top, "tokens that are listed"); }
};

struct AttentionLensOutputs {
    float *logits = nullptr, *head_logits = nullptr;  ///< head_logits of the last token
    std::int64_t* top_tokens = nullptr;               ///< of each head, the largest logit first

    static void list(auto&& visit, auto& out) {
        visit("logits", out.logits, "[T, V]");
        visit("head_logits", out.head_logits, "[H, V]");
        visit("top_tokens", out.top_tokens, "[H, S]");
    }
    static void sizes(auto&& set, const AttentionLensInputs&, const AttentionLensOptions& o) { set("S", o.top); }
};

/// Throws Error on shapes and options that do not fit and on numbers that are not finite; nothing is written then.
void attention_lens(const AttentionLensInputs& x, const AttentionLensOutputs& out,
                    const AttentionLensOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/attention_lens.inl>
#endif
