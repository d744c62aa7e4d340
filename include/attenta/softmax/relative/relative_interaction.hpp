// Relative positions that interact with queries and keys. Huang, Liang, Xu, Xiang 2020, "Improve Transformer Models with Better
// Relative Position Embeddings".
//
//   d = j − i, clipped to ± (m − 1)
//   1  s = scale · (q·k) a_|d|              rel [Hr, m]
//   2  s = scale · (q·k) a_d                rel [Hr, 2m − 1]
//   3  s = scale · Σ_c q_c k_c a_d,c        rel [Hr, 2m − 1, D]
//   4  s = scale · (q·k + q·a_d + k·a_d)    rel [Hr, 2m − 1, D]
//
// Method 4 is that of published models; the paper's text of the others was not at hand (see the specification).
#pragma once

#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// `rel` has rows of one number for methods 1 and 2. Hr divides Hq.
struct RelativeInteractionInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> rel;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("rel", x.rel, "[Hr, TM] or [Hr, TM, D]");
    }
};

struct RelativeInteractionOptions {
    std::int64_t method = 4;          ///< 1 to 4
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("method", o.method, "1 to 4");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void relative_interaction(const RelativeInteractionInputs& x, const SoftmaxOutputs& out,
                          const RelativeInteractionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/relative_interaction.inl>
#include <attenta/softmax/relative/relative_interaction_kernels.inl>
#endif
