// The impatient reader: additive attention that reads the document again for every query token. Hermann et al. 2015, "Teaching
// Machines to Read and Comprehend".
//
//   w_i = softmax_j(v_a·tanh(W_k k_j + W_r r + W_q q_i)),  r ← Σ_j w_ij v_j + tanh(W_rr r),  o_i = r
//
// Tokens follow each other; W_k k is made once. Time Tq Tk (A + Dv), state Dv.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <span>

ATTENTA_BEGIN

struct ImpatientInputs {
    Heads<const float> q, k, v;
    Matrices<const float> w_q, w_k, w_r;
    std::span<const float> v_a;
    Matrices<const float> w_rr;
    std::span<const float> state = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[1, Tq, Dq]");
        visit("k", x.k, "[1, Tk, Dk]");
        visit("v", x.v, "[1, Tk, Dv]");
        visit("w_q", x.w_q, "[A, Dq]");
        visit("w_k", x.w_k, "[A, Dk]");
        visit("w_r", x.w_r, "[A, Dv]");
        visit("v_a", x.v_a, "[A]");
        visit("w_rr", x.w_rr, "[Dv, Dv]");
        visit("state", x.state, "[Dv]", Input::optional);
    }
};

struct ImpatientOptions {
    static void fields(auto&&, auto&) {}
};

struct ImpatientOutputs {
    Heads<float> o;            ///< [1, Tq, Dv]
    float* weights = nullptr;  ///< [1, Tq, Tk]; or null
    float* state = nullptr;    ///< [Dv] the last r; or null
};

/// Without a state r is 0 at first; with the state of an earlier call the sequence of queries goes on. Throws Error on shapes that
/// do not fit; nothing is written then.
void impatient(const ImpatientInputs& x, const ImpatientOutputs& out, const ImpatientOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/checked_call.inl>
#include <attenta/variants/network/impatient.inl>
#include <attenta/variants/network/pair_scores.hpp>
#endif
