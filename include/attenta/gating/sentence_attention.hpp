// Sentence attention: the embedding of a sentence gives one weight per channel of an image's map. Khoshsirat and Kambhamettu
// 2023, "Sentence Attention Blocks for Answer Grounding".
//
//   y = LN(w_1 s + b_1),  LN over its entries with the population's variance, `norm` and `norm_b`
//   a = softmax(w_2 relu(y) + b_2) over channels, or σ;   o_c = a_c x_c
//
// Time H·W·C + M·(E + C).
#pragma once

#include <attenta/gating/common.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class SentenceActivation : std::uint8_t { softmax, sigmoid };
constexpr std::array<std::string_view, 2> names_of(SentenceActivation) { return {"softmax", "sigmoid"}; }

struct SentenceAttentionInputs {
    Heads<const float> x;
    std::span<const float> s;
    Matrices<const float> w_1;
    std::span<const float> b_1, norm, norm_b;
    Matrices<const float> w_2;
    std::span<const float> b_2;

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, H, W]");
        visit("s", x.s, "[E]");
        visit("w_1", x.w_1, "[M, E]");
        visit("b_1", x.b_1, "[M]");
        visit("norm", x.norm, "[M]");
        visit("norm_b", x.norm_b, "[M]");
        visit("w_2", x.w_2, "[C, M]");
        visit("b_2", x.b_2, "[C]");
    }
};

struct SentenceAttentionOutputs {
    Heads<float> o;         ///< [C, H, W]
    float* gate = nullptr;  ///< [C], or null
};

struct SentenceAttentionOptions {
    SentenceActivation activation = SentenceActivation::softmax;
    float eps = 1e-5f;        ///< of the layer norm, at least 0
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "softmax over channels, or sigmoid");
        visit("eps", o.eps, "of the layer norm");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void sentence_attention(const SentenceAttentionInputs& x, const SentenceAttentionOutputs& out,
                        const SentenceAttentionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/sentence_attention.inl>
#endif
