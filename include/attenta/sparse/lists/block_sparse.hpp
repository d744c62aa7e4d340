// Attention over given blocks of keys for each block of queries, the form that selections of blocks come down to.
//
//   query i of block a = i / block_q sees key j of block b = j / block_k where b is listed for a, and j <= i if `causal`
//
// Blocks may be of any size, the last one short. Time nnz · block_q · block_k · (D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

struct BlockSparseInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> block_indptr, block_indices;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("block_indptr", x.block_indptr, "[P]", Input::optional);
        visit("block_indices", x.block_indices, "[N]", Input::optional);
    }
};

struct BlockSparseOptions {
    std::int64_t block_q = 64, block_k = 64;  ///< tokens
    std::int64_t index_heads = 1;             ///< 1, Hkv or Hq: lists for all heads, for each K/V head, each query head
    bool causal = false;                      ///< listed keys after the query are not read
    std::optional<float> scale = {};          ///< default 1/sqrt(D)
    bool check_data = false;                  ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("block_q", o.block_q, "queries of a block");
        visit("block_k", o.block_k, "keys of a block");
        visit("index_heads", o.index_heads, "lists: 1 for all heads, Hkv, or Hq");
        visit("causal", o.causal, "listed keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on lists that KeyLists::blocks refuses, and on shapes that do not fit; nothing is written then.
inline void block_sparse(const BlockSparseInputs& x, const SparseOutputs& out, const BlockSparseOptions& options = {},
                         Context& context = default_context()) {
    const auto call = detail::check_sparse("block_sparse", x, out, options,
                                           options.causal ? Positions::last : Positions::none, context);
    const detail::CallLists lists(call, nullptr);
    lists->assign_blocks({options.index_heads, x.q.tokens, call.keys(), options.block_q, options.block_k},
                         x.block_indptr, x.block_indices);
    call.attend(*lists, options.causal ? Mask(Causal{}) : Mask());
}

ATTENTA_END
