// Token-aware average pooling: each token becomes a learned mixture of local means of several dilations, before attention. Guo,
// Stutz and Schiele 2023, "Robustifying Token Attention for Vision Transformers".
//
//   y = w_2 * norm(w_1 * x),  norm(z) = (z − norm_mean) / √(norm_var + eps) · norm + norm_b      * : a convolution, zero outside
//   a = softmax over the N channels of y / temperature
//   o = Σ_n a_n ⊙ pool_n(x),  pool_0(x) = x,  pool_n = mean of the nine samples at offsets {−n, 0, n}², 0 outside
//
// The batch norm folds into the first convolution. Time N·H·W·(9·C + 9·N + 6·C).
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <span>

ATTENTA_BEGIN

/// Kernels of n² taps, n odd, 3 in the paper. All numbers of the batch norm are given.
struct TokenPoolingAttentionInputs {
    Heads<const float> x, w_1;
    std::span<const float> norm, norm_b, norm_mean, norm_var;
    Heads<const float> w_2;

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, H, W]");
        visit("w_1", x.w_1, "[N, C, NN]");
        visit("norm", x.norm, "[N]");
        visit("norm_b", x.norm_b, "[N]");
        visit("norm_mean", x.norm_mean, "[N]");
        visit("norm_var", x.norm_var, "[N]");
        visit("w_2", x.w_2, "[N, N, MM]");
    }
};

struct TokenPoolingAttentionOutputs {
    Heads<float> o;            ///< [C, H, W]
    float* weights = nullptr;  ///< [N, H, W], or null
};

struct TokenPoolingAttentionOptions {
    float temperature = 1;    ///< above 0
    float eps = 1e-5f;        ///< of the batch norm, at least 0
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("temperature", o.temperature, "divisor of the logits");
        visit("eps", o.eps, "of the batch norm");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on shapes and options that do not fit, on kernels whose size is even and on variances below 0; nothing is written
/// then.
void token_pooling_attention(const TokenPoolingAttentionInputs& x, const TokenPoolingAttentionOutputs& out,
                             const TokenPoolingAttentionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense_maps.inl>
#include <attenta/variants/structured/token_pooling_attention.inl>
#include <attenta/variants/structured/token_pooling_attention_kernels.inl>
#endif
