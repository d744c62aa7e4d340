// Relative convolutional multi-head attention: Transformer-XL's scores of convolved queries, keys and values. Permata et al. 2023,
// "RCMHA: Relative Convolutional Multi-Head Attention".
//
//   y_t = b + Σ_c W[:, c] x_{t − (C − 1) + c} for q, k and v, zeros in front;  then, with d = j − i,
//   s_ij = scale · ((q_i + bias_u)·k_j + q_i·rel_k[P + d] + rel_bias[P + d])
//
// The convolutions see the given tokens alone: a stream keeps the last C − 1 of each.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

/// Kernels of one channel each, for all heads, of any lengths; a table of 2P distances.
struct RcmhaInputs {
    Heads<const float> q, k, v;
    Matrices<const float> conv_q_weight, conv_k_weight, conv_v_weight;
    std::span<const float> conv_q_bias, conv_k_bias, conv_v_bias;
    Heads<const float> rel_k;
    Matrices<const float> rel_bias, bias_u;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("conv_q_weight", x.conv_q_weight, "[D, Cq]");
        visit("conv_k_weight", x.conv_k_weight, "[D, Ck]");
        visit("conv_v_weight", x.conv_v_weight, "[Dv, Cv]");
        visit("conv_q_bias", x.conv_q_bias, "[D]");
        visit("conv_k_bias", x.conv_k_bias, "[D]");
        visit("conv_v_bias", x.conv_v_bias, "[Dv]");
        visit("rel_k", x.rel_k, "[Hq, P2, D]");
        visit("rel_bias", x.rel_bias, "[Hq, P2]");
        visit("bias_u", x.bias_u, "[Hq, D]");
    }
};

struct RcmhaOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D), of all three terms
    VisibleKeys visibility = {.causal = true};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, and a table that lacks a distance
/// that a visible pair may have; nothing is written then.
void rcmha(const RcmhaInputs& x, const SoftmaxOutputs& out, const RcmhaOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/rcmha.inl>
#endif
