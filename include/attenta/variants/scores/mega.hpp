// A Mega layer. Ma et al. 2022, Mega: Moving Average Equipped Gated Attention, eq. 7-14.
//
//   m = damped_ema(x);   [u; z; r; h] = m W_mx + b_mx,  u ← σ(u),  z, r ← silu
//   q, k = z ⊙ gamma_qk[0, 1] + beta_qk[0, 1];   v = silu(x W_v + b_v);   a = mega_attention(q, k, v)
//   o = residual + u ⊙ (silu(h + (a ⊙ r) W_h + b_h) − residual)
//
// In the layer form that norms first, x is behind the norm and the residual before it. Weights are [in, out].
// Time T·D·N of the average, the attention's, and T·D·(2 D + S + 3 E) of the products.
#pragma once

#include <attenta/variants/scores/mega_attention.hpp>

ATTENTA_BEGIN

/// M = D, or 2 D for an average in both directions; P = 2 D + S + E.
struct MegaInputs {
    Matrices<const float> x, residual, delta, alpha, beta, gamma;
    std::span<const float> omega;
    Matrices<const float> w_mx;
    std::span<const float> b_mx;
    Matrices<const float> gamma_qk, beta_qk, w_v;
    std::span<const float> b_v;
    Matrices<const float> w_h;
    std::span<const float> b_h;

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[T, D]");
        visit("residual", x.residual, "[T, D]");
        visit("delta", x.delta, "[M, N]");
        visit("alpha", x.alpha, "[M, N]");
        visit("beta", x.beta, "[M, N]");
        visit("gamma", x.gamma, "[M, N]");
        visit("omega", x.omega, "[D]");
        visit("w_mx", x.w_mx, "[D, P]");
        visit("b_mx", x.b_mx, "[P]");
        visit("gamma_qk", x.gamma_qk, "[2, S]");
        visit("beta_qk", x.beta_qk, "[2, S]");
        visit("w_v", x.w_v, "[D, E]");
        visit("b_v", x.b_v, "[E]");
        visit("w_h", x.w_h, "[E, D]");
        visit("b_h", x.b_h, "[D]");
    }
};

struct MegaOptions {
    MegaActivation activation = MegaActivation::softmax;
    std::optional<std::int64_t> chunk = {};  ///< tokens of a chunk, none: all are one
    bool causal = false;
    bool bidirectional = false;  ///< the average runs in both directions

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "of the attention: softmax, laplace or relu2");
        visit("chunk", o.chunk, "tokens of a chunk, default all");
        visit("causal", o.causal, "token i sees tokens j <= i");
        visit("bidirectional", o.bidirectional, "the average runs in both directions");
    }
};

/// Without data an output is not wanted, but for o.
struct MegaOutputs {
    Matrices<float> o;                                      ///< [T, D]
    Matrices<float> q = {}, k = {}, v = {}, attended = {};  ///< [T, S], [T, S], [T, E], [T, E]
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void mega(const MegaInputs& x, const MegaBias& bias, const MegaOutputs& out, const MegaOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/scores/mega.inl>
#include <attenta/variants/scores/mega_kernels.inl>
#endif
