// XAttention: each block of queries reads the blocks of keys that hold most of its attention, by scores summed along the
// antidiagonals of small tiles. Xu et al. 2025, "XAttention: Block Sparse Attention with Antidiagonal Scoring". For prefill.
//
//   t_ab = scale / (S · norm) · Σ_{r < S} q[aS + S - 1 - r] · k[bS + r]        a tile of S × S scores, S = stride
//   P_a  = softmax of t_ab over tiles up to the query's own,  A_mn = Σ P_ab over the tiles of query block m and key block n
//   blocks of m: the first and its own, then those of the largest A_mn while what is taken is below threshold · Σ_n A_mn
//
// Tile scores are products of rows S·D wide: S rows of queries, reversed, and S rows of keys behind each other. Ties go to
// the lower block. Time Tq·Tk·D/S per head to rank, then block_size²·(D + Dv) for each block.
#pragma once

#include <attenta/sparse/common.hpp>

#include <span>

ATTENTA_BEGIN

/// block_size divides Tk - Tq.
struct XattentionInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const float> threshold = {};  ///< [Hq] in place of the option, or empty

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("threshold", x.threshold, "[Hq]", Input::optional);
    }
};

struct XattentionOptions {
    std::int64_t stride = 8;          ///< tokens of a tile, divides block_size
    std::int64_t block_size = 128;    ///< tokens of a block
    float threshold = 0.9f;           ///< share of the attention that the blocks shall hold, in (0, 1]
    float norm = 1;                   ///< divides the scores of tiles
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("stride", o.stride, "tokens of a tile");
        visit("block_size", o.block_size, "tokens of a block");
        visit("threshold", o.threshold, "share of the attention that the blocks shall hold");
        visit("norm", o.norm, "divides the scores of tiles");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct XattentionOutputs : SparseOutputs {
    float* block_share = nullptr;  ///< [Hq, blocks of queries, blocks of keys], A_mn; or null
};

/// The selection alone: a list for each query head and block of queries. Throws Error on shapes and options that do not fit.
void xattention_lists(const XattentionInputs& x, KeyLists& lists, const XattentionOptions& options = {},
                      Context& context = default_context(), float* block_share = nullptr);

/// Throws Error on shapes and options that do not fit; nothing is written then.
void xattention(const XattentionInputs& x, const XattentionOutputs& out, const XattentionOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/pages/xattention.inl>
#endif
