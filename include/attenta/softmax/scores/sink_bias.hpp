// One more key and value for each head, at no position, which every query sees. Sun et al. 2024, Massive Activations in Large
// Language Models.
//
//   softmax over [k', k] with values [v', v]:  s' = scale · q·k',  lse = ln(e^s' + Σ_j e^s_j)
//
// The plain attention is merged with the part of that key. With v' = 0 it is a sink whose logit depends on the query.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

struct SinkBiasInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> k_bias, v_bias;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("k_bias", x.k_bias, "[Hkv, D]");
        visit("v_bias", x.v_bias, "[Hkv, Dv]");
    }
};

struct SinkBiasOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};      ///< of the other keys

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null, k' included: no row is empty. Throws Error on shapes and options that do not fit;
/// nothing is written then.
void sink_bias(const SinkBiasInputs& x, const SoftmaxOutputs& out, const SinkBiasOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/scores/sink_bias.inl>
#endif
