// Neural attention: a score is a small ReLU network of a query and a key. DiGiugno, Mahmood 2025, "Neural Attention: A Novel
// Mechanism for Enhanced Expressive Power in Transformer Models".
//
//   q' = W_q q + b_q,  k' = W_k k + b_k                                      N wide
//   s_ij = w_3·relu(W_2 relu(W_1 [q'_i; k'_j] + b_1) + b_2) + b_3,  softmax_j without a scale
//
// a_i = W_1[:, :N] q'_i and c_j = W_1[:, N:] k'_j + b_1 are those of tokens; a pair costs an M × N product of relu(a_i + c_j).
// Time Hq Tq Tk N (M + 1).
#pragma once

#include <attenta/softmax/common.hpp>

#include <span>

ATTENTA_BEGIN

/// The weights are shared by all heads. Released sizes: N = D / 32, M = N / 2.
struct NeuralInputs {
    Heads<const float> q;
    Matrices<const float> w_q, w_k;
    std::span<const float> b_q, b_k;
    Matrices<const float> w_1;
    std::span<const float> b_1;
    Matrices<const float> w_2;
    std::span<const float> b_2, w_3, b_3;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("w_q", x.w_q, "[N, D]");
        visit("b_q", x.b_q, "[N]");
        visit("w_k", x.w_k, "[N, D]");
        visit("b_k", x.b_k, "[N]");
        visit("w_1", x.w_1, "[N, 2N]");
        visit("b_1", x.b_1, "[N]");
        visit("w_2", x.w_2, "[M, N]");
        visit("b_2", x.b_2, "[M]");
        visit("w_3", x.w_3, "[M]");
        visit("b_3", x.b_3, "[1]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct NeuralOptions {
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) { VisibleKeys::fields(visit, o.visibility); }
};

/// o [Hq, Tq, Dv], 0 where a query sees no key; lse [Hq, Tq] or null, b_3 among it. Throws Error on shapes and options that do not
/// fit and on causal calls with more queries than keys; nothing is written then.
void neural(const NeuralInputs& x, const SoftmaxOutputs& out, const NeuralOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/network/neural.inl>
#include <attenta/variants/network/pair_scores.hpp>
#endif
