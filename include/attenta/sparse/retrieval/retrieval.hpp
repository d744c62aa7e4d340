// Retrieval attention: sinks and a window are always read, of the other keys those with the largest products. Liu et al.
// 2024, "RetrievalAttention: Accelerating Long-Context LLM Inference via Vector Retrieval", section 3.
//
//   S(i) = {j <= i : j < sink or j > i − window},  R(h, i) = top_k of sink <= j <= i − window by q_i·k_j
//   o_i  = Σ_{j ∈ S ∪ R} softmax_j(scale · q_i·k_j) v_j
//
// Here R is searched exactly, in time Tk·D per query; retrieval_index.hpp has an approximate search in less, whose result is
// `found`. Attention takes (sink + window + top_k)·(D + Dv).
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// `found` is what an index returned for each head and query, -1 where it returned less: keys of the cache in any order,
/// whose recall is measured, or which are read in place of R (RetrievalOptions::read_found).
struct RetrievalInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const std::int64_t> found = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("found", x.found, "[Hq, Tq, N]", Input::optional);
    }
};

struct RetrievalOptions {
    std::int64_t sink = 128;          ///< first keys, which are always read
    std::int64_t window = 512;        ///< newest keys, which are always read, the query's own among them
    std::int64_t top_k = 100;         ///< keys that are retrieved
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN
    bool read_found = false;          ///< `found` is read, and nothing is searched; what stands in S is not read twice

    static void fields(auto&& visit, auto& o) {
        visit("sink", o.sink, "first keys, which are always read");
        visit("window", o.window, "newest keys, which are always read");
        visit("top_k", o.top_k, "keys that are retrieved");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct RetrievalOutputs : SparseOutputs {
    Heads<float> o_static = {};   ///< [Hq, Tq, Dv], attention over S alone; or without data
    float* lse_static = nullptr;  ///< [Hq, Tq]; or null
    float* recall = nullptr;      ///< [Hq, Tq], share of R that was found, 1 where R is empty; or null
};

/// The selection alone, S and R: a list for each query head and query. Throws Error on shapes and options that do not fit.
void retrieval_lists(const RetrievalInputs& x, KeyLists& lists, const RetrievalOptions& options = {},
                     Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void retrieval(const RetrievalInputs& x, const RetrievalOutputs& out, const RetrievalOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/retrieval/retrieval.inl>
#endif
