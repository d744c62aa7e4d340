// Complex attention: channels as points in polar form, whose phase differences are scaled and shifted for each head and added to
// a rotary phase. Shao et al. 2025, ComplexFormer.
//
//   channel c pairs with c + D/2:  M = sqrt(re² + im² + 1e-9),  A = atan2(im, re)
//   s_ij = scale · Σ_c Mq_ic Mk_jc cos(delta_c (Aq_ic − Ak_jc) + phase_bias_c + (i − j) g_c),  g_c = base^(−2c/D)
//
// The cosine splits: q' = Mq e^{i (delta Aq + phase_bias)} and k' = Mk e^{i delta Ak}, rotated by their positions, and
// s = scale · q'·k'. k' depends on the query's head through delta: heads of a group do not share it. The score is
// discontinuous where A jumps, across the negative real axis. Time as softmax, Hq·(Tq + Tk)·D for the angles.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

struct ComplexInputs {
    Heads<const float> q, k, v;
    Matrices<const float> delta, phase_bias;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("delta", x.delta, "[Hq, D/2]");
        visit("phase_bias", x.phase_bias, "[Hq, D/2]");
    }
};

struct ComplexOptions {
    std::optional<float> scale = {};  ///< default 1, as released
    double base = 10000;
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the score, default 1");
        visit("base", o.base, "of the frequencies");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void complex(const ComplexInputs& x, const SoftmaxOutputs& out, const ComplexOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/complex.inl>
#include <attenta/softmax/positions/complex_kernels.inl>
#endif
