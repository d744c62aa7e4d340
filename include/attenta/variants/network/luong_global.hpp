// Global attention of Luong, Pham, Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation", eq. 5-8.
//
//   w_i = softmax_j(scale · s_ij) over the keys that i sees,  o_i = Σ_j w_ij v_j,  h_i = tanh(W_c [o_i; q_i])
//
// The scores are those of network/luong_scores.hpp. Time Hq Tq Tk (D + Dv), concat Hq Tq Tk A.
#pragma once

#include <attenta/variants/network/luong_scores.hpp>

#include <optional>
#include <span>

ATTENTA_BEGIN

/// The shape of w_a is that of the score.
struct LuongGlobalInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> w_a = {};
    std::span<const float> v_a = {};
    Matrices<const float> w_c = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("k", "v", x.kv, "[Hkv, Tk, Dk]", "[Hkv, Tk, Dv]");
        visit("w_a", x.w_a, "[A, C]", Input::optional);
        visit("v_a", x.v_a, "[A]", Input::optional);
        visit("w_c", x.w_c, "[Dh, E]", Input::optional);
    }
};

struct LuongGlobalOptions {
    LuongScore score = LuongScore::dot;
    std::optional<float> scale = {};  ///< default 1
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("score", o.score, "dot, general, concat or location");
        visit("scale", o.scale, "factor of the scores, default 1");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct LuongGlobalOutputs : SoftmaxOutputs {
    Heads<float> h = {};  ///< [Hq, Tq, Dh] the attentional hidden state, with w_c [Dh, Dv + Dq]; or nothing
};

/// o [Hq, Tq, Dv], 0 where a query sees no key; lse [Hq, Tq] of the scaled scores, or null. Throws Error on shapes and options that
/// do not fit and on causal calls with more queries than keys; nothing is written then.
void luong_global(const LuongGlobalInputs& x, const LuongGlobalOutputs& out, const LuongGlobalOptions& options = {},
                  Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/network/luong_global.inl>
#endif
