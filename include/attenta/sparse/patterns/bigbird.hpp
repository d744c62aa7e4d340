// BigBird: blocks of tokens read their neighbours, the first and the last blocks, and random ones that are given. Zaheer et
// al. 2020, "Big Bird: Transformers for Longer Sequences", the internal construction.
//
//   block a reads block b where a or b is one of the first or last `global_blocks`, |a - b| <= window_blocks div 2, or b is
//   one of rand_blocks[h, a]; each key counts once
//
// The reference code would count a random block that is global or in the window twice; its sampler draws none. Time
// T·block·(window_blocks + 2·global_blocks + r)·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// Random blocks are for all heads, for each K/V head or each query head; -1 is none. Those of global blocks are not looked
/// at. Without any there are none.
struct BigbirdInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const std::int64_t> rand_blocks = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
        visit("rand_blocks", x.rand_blocks, "[Hx, Tb, R]", Input::optional);
    }
};

struct BigbirdOptions {
    std::int64_t block = 64;          ///< tokens of a block, of which the last may have fewer
    std::int64_t window_blocks = 3;   ///< blocks of the window, the own one in the middle
    std::int64_t global_blocks = 1;   ///< at either end, which read and are read by all
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("block", o.block, "tokens of a block");
        visit("window_blocks", o.window_blocks, "blocks of the window, an odd number");
        visit("global_blocks", o.global_blocks, "blocks at either end that read and are read by all");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The pattern: lists of blocks for each block of queries. Throws Error on options and random blocks that do not fit.
void bigbird_lists(const BigbirdInputs& x, KeyLists& lists, const BigbirdOptions& options = {});

/// Throws Error on shapes, options and random blocks that do not fit; nothing is written then.
void bigbird(const BigbirdInputs& x, const SparseOutputs& out, const BigbirdOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/bigbird.inl>
#endif
