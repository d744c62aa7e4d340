// Adaptive attention with a visual sentinel. Lu, Xiong, Parikh, Socher 2017, "Knowing When to Look", eq. 6-13.
//
//   z_ij = w_a·tanh(W_v k_j + W_g q_i),  ζ_i = w_a·tanh(W_s s_i + W_g q_i)
//   [α_i; β_i] = softmax([z_i; ζ_i]),  o_i = β_i s_i + Σ_j α_ij v_j
//   s_i = σ(W_x x_i + W_h h_i) ⊙ tanh(m_i) of the cell's parts, where s is not given
//
// The sentinel is a key of each query's own that joins the others by (o, lse). Time Hq Tq Tk A.
#pragma once

#include <attenta/softmax/common.hpp>

#include <span>

ATTENTA_BEGIN

/// q are the decoder's states; s, or else x, h_prev, m, w_x and w_h.
struct SentinelInputs {
    Heads<const float> q;
    Matrices<const float> w_v, w_g, w_s;
    std::span<const float> w_a;
    KvView kv;
    Heads<const float> s = {}, x = {}, h_prev = {}, m = {};
    Matrices<const float> w_x = {}, w_h = {};

    static void list(auto&& visit, auto& in) {
        visit("q", in.q, "[Hq, Tq, Dq]");
        visit("w_v", in.w_v, "[A, Dk]");
        visit("w_g", in.w_g, "[A, Dq]");
        visit("w_s", in.w_s, "[A, Dv]");
        visit("w_a", in.w_a, "[A]");
        visit("k", "v", in.kv, "[Hkv, Tk, Dk]", "[Hkv, Tk, Dv]");
        visit("s", in.s, "[Hq, Tq, Dv]", Input::optional);
        visit("x", in.x, "[Hq, Tq, X]", Input::optional);
        visit("h_prev", in.h_prev, "[Hq, Tq, Dq]", Input::optional);
        visit("m", in.m, "[Hq, Tq, Dv]", Input::optional);
        visit("w_x", in.w_x, "[Dv, X]", Input::optional);
        visit("w_h", in.w_h, "[Dv, Dq]", Input::optional);
    }
};

struct SentinelOptions {
    VisibleKeys visibility = {};  ///< of the keys; every query sees its sentinel

    static void fields(auto&& visit, auto& o) { VisibleKeys::fields(visit, o.visibility); }
};

struct SentinelOutputs : SoftmaxOutputs {
    float* beta = nullptr;  ///< [Hq, Tq] weight of the sentinel; or null
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] over keys and sentinel, or null. Throws Error on shapes and options that do not fit, and unless s or
/// all parts of the cell are given, not both; nothing is written then.
void sentinel(const SentinelInputs& x, const SentinelOutputs& out, const SentinelOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/network/pair_scores.hpp>
#include <attenta/variants/network/sentinel.inl>
#endif
