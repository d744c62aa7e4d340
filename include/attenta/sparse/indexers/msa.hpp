// MiniMax sparse attention: an index head for each group of query heads picks blocks, each worth its best key. MiniMax-M3
// (MiniMax 2026, arXiv 2606.13392).
//
//   s_xij = q_idx_xi · k_idx_j,  b_x(i, n) = max of s_xij over the keys j <= i of block n
//   A(x, i) = j <= i in top_k blocks up to the query's own: the first init_blocks, the last local_blocks, the best others
//   o_hi = Σ_{j ∈ A(h / (Hq/Hi), i)} softmax_j(scale · q_hi·k_j) v_j
//
// In the model Hi = Hkv. Ties go to the lower block. Time Tk·Di per index head and query to rank and
// top_k·block_size·(D + Dv) per head and query to attend; scores of keys are reduced to those of blocks as they come.
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// Index queries and keys are normed and rotated by the caller. Hi divides Hq.
struct MsaInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> q_idx;
    Matrices<const float> k_idx;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("q_idx", x.q_idx, "[Hi, Tq, Di]");
        visit("k_idx", x.k_idx, "[Tk, Di]");
    }
};

struct MsaOptions {
    std::int64_t block_size = 128;    ///< keys of a block
    std::int64_t top_k = 16;          ///< blocks that a query reads, the forced ones among them
    std::int64_t local_blocks = 1;    ///< last blocks that are always read, the query's own among them
    std::int64_t init_blocks = 0;     ///< first blocks that are always read
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("block_size", o.block_size, "keys of a block");
        visit("top_k", o.top_k, "blocks that a query reads");
        visit("local_blocks", o.local_blocks, "last blocks that are always read, the query's own among them");
        visit("init_blocks", o.init_blocks, "first blocks that are always read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone: a list for each index head and query. Throws Error on shapes and options that do not fit.
void msa_lists(const MsaInputs& x, KeyLists& lists, const MsaOptions& options = {},
               Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void msa(const MsaInputs& x, const SparseOutputs& out, const MsaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/indexers/msa.inl>
#endif
