// Cross-attention of object queries to an image, with positional queries that the size of their anchors modulates. Liu et al.
// 2022, DAB-DETR.
//
//   E(z)_c = sin (c even) or cos (c odd) of 2π z / temperature^(2 ⌊c/2⌋ / (M/2)),  c < M/2
//   e = [E(y) · ref_h / h, E(x) · ref_w / w] ⊙ pos_scale,   q_pos = e W_pos + b_pos per head
//   s = scale · (q·k + q_pos·k_pos),   scale 1/sqrt(D + Dp)
//
// Anchors are (x, y, w, h) with coordinates in [0, 1], ref_wh already squashed to (0, 1). Content and positional channels stand side
// by side: plain attention of width D + Dp. In the first decoder layer positional projections are added to q and k before the
// call; that is the caller's. The paper quotes a temperature of 20 for the maps of the keys; the released code has 10000 here.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

struct ModulatedPositionalInputs {
    Heads<const float> q, k, v, k_pos;
    Matrices<const float> anchors, ref_wh = {};  ///< ref_wh where sizes modulate
    Matrices<const float> pos_scale = {};
    Heads<const float> w_pos;
    Matrices<const float> b_pos;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("k_pos", x.k_pos, "[Hkv, Tk, Dp]");
        visit("anchors", x.anchors, "[Tq, 4]");
        visit("ref_wh", x.ref_wh, "[Tq, 2]", Input::optional);
        visit("pos_scale", x.pos_scale, "[Tq, M]", Input::optional);
        visit("w_pos", x.w_pos, "[Hq, TM, Dp]");
        visit("b_pos", x.b_pos, "[Hq, Dp]");
    }
};

struct ModulatedPositionalOptions {
    double temperature = 10000;
    bool modulate = true;             ///< by ref_wh over the anchor's size
    std::optional<float> scale = {};  ///< default 1/sqrt(D + Dp)
    Matrices<const bool> mask = {};   ///< [1 or Hq, 1 or Tq, at most Tk], true: visible

    static void fields(auto&& visit, auto& o) {
        visit("temperature", o.temperature, "of the sinusoids");
        visit("modulate", o.modulate, "by ref_wh over the anchor's size");
        visit("scale", o.scale, "factor of the score, default 1/sqrt(D + Dp)");
    }
};

struct ModulatedPositionalOutputs : SoftmaxOutputs {
    float* q_pos = nullptr;  ///< [Hq, Tq, Dp], or null
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, and on anchors without a size where
/// it modulates; nothing is written then.
void modulated_positional(const ModulatedPositionalInputs& x, const ModulatedPositionalOutputs& out,
                          const ModulatedPositionalOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/modulated_positional.inl>
#endif
