// Persistent memory: learned keys and values beside those of the context. Sukhbaatar et al. 2019, "Augmenting Self-attention with
// Persistent Memory", section 4; its relative position terms.
//
//   s_ij = scale · q_i·(k_j + rel_k[i − j]) for distances 0 .. L − 1, others invisible;  s_in = scale · q_i·k_mem_n
//   one softmax over both,  o_i = Σ_j p_ij v_j + Σ_n p_in v_mem_n
//
// Both parts are attention, merged by their statistics.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>

ATTENTA_BEGIN

/// Hr divides Hq.
struct PersistentMemoryInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> k_mem, v_mem, rel_k = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("k_mem", x.k_mem, "[Hkv, TN, D]");
        visit("v_mem", x.v_mem, "[Hkv, TN, Dv]");
        visit("rel_k", x.rel_k, "[Hr, TL, D]", Input::optional);
    }
};

struct PersistentMemoryOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool include_self = true;         ///< a query sees the key at its own position
    VisibleKeys visibility = {};      ///< of the context

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("include_self", o.include_self, "a query sees the key at its own position");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null, memory included. Throws Error on shapes and options that do not fit; nothing is
/// written then.
void persistent_memory(const PersistentMemoryInputs& x, const SoftmaxOutputs& out,
                       const PersistentMemoryOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/softmax/relative/persistent_memory.inl>
#endif
