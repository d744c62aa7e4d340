// Relative positions of Transformer-XL. Dai et al. 2019, "Transformer-XL: Attentive Language Models beyond a Fixed-Length
// Context", section 3.3.
//
//   s_ij = scale · ((q_i + bias_u)·k_j + (q_i + bias_v)·r_n),  n = i − j
//   r_n = R(n) W_R,  R(n) = [sin n w_c, ..., cos n w_c, ...],  w_c = base^(−2c/M)
//
// (q + bias_v)·rᵀ is one product for all distances of some queries, read along the keys (the relative shift).
#pragma once

#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// Either w_r, or the table r itself, whose row 0 belongs to the distance r_first. Hr divides Hq.
struct RelativeXlInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> bias_u, bias_v;
    Heads<const float> w_r = {}, r = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("bias_u", x.bias_u, "[Hq, D]");
        visit("bias_v", x.bias_v, "[Hq, D]");
        visit("w_r", x.w_r, "[Hr, M, D]", Input::optional);
        visit("r", x.r, "[Hr, TL, D]", Input::optional);
    }
};

struct RelativeXlOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    float base = 10000;               ///< of the frequencies, above 0
    std::int64_t clamp_len = -1;      ///< distances beyond count as this one; -1: off. For w_r alone
    std::int64_t r_first = 0;         ///< distance of the first row of r
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("base", o.base, "of the frequencies of the sinusoids");
        visit("clamp_len", o.clamp_len, "distances beyond count as this one, -1: off");
        visit("r_first", o.r_first, "distance i - j of the first row of r");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, both or neither of w_r and r, an
/// odd M, and a table that lacks a distance that a visible pair may have; nothing is written then.
void relative_xl(const RelativeXlInputs& x, const SoftmaxOutputs& out, const RelativeXlOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/relative_xl.inl>
#endif
