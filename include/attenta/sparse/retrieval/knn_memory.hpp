// A memory layer of the Focused Transformer: one softmax over the local context and the memory's best keys. Tworkowski et al.
// 2023, "Focused Transformer: Contrastive Training for Context Scaling", section 3.1.
//
//   A(h, i) = local j <= i, and the top_k memory keys by q_i·k_m
//   o_i     = Σ_{A} softmax(scale · q_i·k) v
//
// Memory keys are rotated as if they stood at the first local position, which is the caller's to do. The two parts are
// merged by their statistics; the memory is a cache of its own. Time Tm·D per query to rank and (Tk + top_k)·(D + Dv).
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

struct KnnMemoryInputs {
    Heads<const float> q;
    KvView kv;
    KvView memory;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("mem_k", "mem_v", x.memory, "[Hkv, Tm, D]", "[Hkv, Tm, Dv]");
    }
};

struct KnnMemoryOptions {
    std::optional<std::int64_t> top_k = {};  ///< memory keys that a query reads, default all
    std::optional<float> scale = {};         ///< default 1/sqrt(D)
    bool check_data = false;                 ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("top_k", o.top_k, "memory keys that a query reads, default all");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone: lists of keys of the memory, for each query head and query, or one of all keys. Throws Error on
/// shapes and options that do not fit.
void knn_memory_lists(const KnnMemoryInputs& x, KeyLists& lists, const KnnMemoryOptions& options = {},
                      Context& context = default_context());

/// `out.lists` takes those of the memory. Throws Error on shapes and options that do not fit; nothing is written then.
void knn_memory(const KnnMemoryInputs& x, const SparseOutputs& out, const KnnMemoryOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/retrieval/knn_memory.inl>
#endif
