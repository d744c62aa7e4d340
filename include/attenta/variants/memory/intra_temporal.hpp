// Intra-temporal attention. Paulus, Xiong and Socher 2017, A Deep Reinforced Model for Abstractive Summarization, eq. 1-5. A key that
// earlier steps have attended to counts less.
//
//   e_ti = scale · q_tᵀ W_a k_i,   L_ti = ln Σ_{j < t} exp e_ji,   w_t = softmax_i(e_ti − L_ti),   o_t = Σ_i w_ti v_i
//
// The first of all steps has no L. A state carries L from call to call; a step with a state is the decode step. Nothing takes the
// exponential of a score: scores of 100 and more are sound. Time as softmax, and the scores once through the cache.
#pragma once

#include <attenta/variants/memory/bilinear.hpp>

ATTENTA_BEGIN

struct IntraTemporalInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> w_a = {};  ///< null: the identity
    Matrices<const float> state =
        {};  ///< L before the first step; without it, and where it is −inf, there is no earlier step

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("w_a", x.w_a, "[Dq, D]", Input::optional);
        visit("state", x.state, "[Hq, N]", Input::optional);
    }
};

struct IntraTemporalOptions {
    float scale = 1;

    static void fields(auto&& visit, auto& o) { visit("scale", o.scale, "factor of q·k"); }
};

struct IntraTemporalOutputs : WeightedOutputs {
    Matrices<float> state =
        {};  ///< [Hq, Tk] L after the last step, in the memory of the input's or elsewhere; or without data
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void intra_temporal(const IntraTemporalInputs& x, const IntraTemporalOutputs& out,
                    const IntraTemporalOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/memory/intra_temporal.inl>
#include <attenta/variants/memory/intra_temporal_kernels.inl>
#endif
