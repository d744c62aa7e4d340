// Native sparse attention: compressed blocks, a few selected blocks and a window, three attentions that gates add. Yuan et al.
// 2025, "Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention", eq. 5-12.
//
//   compressed  block c is tokens c·d .. c·d + l - 1, seen from its last token on; p = softmax(scale · q·k_cmp)
//   selected    importance of block j of L tokens: Σ p_c for each piece of d tokens that c and j share, summed over the
//               query heads of a group; the first init_blocks, the last local_blocks, the best others, top_n in all
//   window      the last `window` keys
//   o = g_cmp·o_cmp + g_slc·o_slc + g_win·o_win,  d = cmp_stride, l = cmp_size, L = slc_size
//
// Ties go to the lower block. Time (Tk/d + top_n·L + window)·(D + Dv) per head and query.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/key_table.hpp>

#include <vector>

ATTENTA_BEGIN

/// Means of keys and values of overlapping blocks, which NSA has where nothing is learned. Kept beside a cache, O(D + Dv)
/// for each new token.
class NsaBlockMeans {
public:
    struct Shape {
        std::int64_t kv_heads = 0, dim = 0, dim_v = 0;
        std::int64_t size = 32, stride = 16;  ///< tokens of a block, and from block to block
    };

    NsaBlockMeans() = default;
    /// Throws Error on sizes below 1 and where stride does not divide size.
    explicit NsaBlockMeans(const Shape& shape, Dtype storage = Dtype::f32);

    /// The tokens that the cache holds beyond those seen so far. Throws Error where heads or features differ.
    void update(const KvView& kv);
    std::int64_t tokens() const { return tokens_; }
    /// K and V [kv_heads, complete blocks, ·], NsaInputs::cmp. Valid until the next update.
    KvView view() const;

private:
    /// Of keys or values.
    struct Side {
        std::vector<double> pieces;  ///< [kv_heads, pieces of a block, dim], sums of the newest ones in a ring
        KeyTable table;
    };
    void add(Side& side, const KvView& kv);

    Shape shape_;
    std::int64_t tokens_ = 0;
    Side k_, v_;
};

/// Gates are those behind the sigmoid. Branches may have K and V of their own: `cmp` those of learned compression, of
/// (Tk - cmp_size) / cmp_stride + 1 blocks, or means that were kept; without data they are means of k and v. `slc` and
/// `win` without data are k and v.
struct NsaInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> g_cmp, g_slc, g_win;
    KvView cmp = {}, slc = {}, win = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("g_cmp", x.g_cmp, "[Hq, Tq]");
        visit("g_slc", x.g_slc, "[Hq, Tq]");
        visit("g_win", x.g_win, "[Hq, Tq]");
        visit("k_cmp", "v_cmp", x.cmp, "[Hkv, Tc, D]", "[Hkv, Tc, Dv]", Input::optional);
        visit("k_slc", "v_slc", x.slc, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]", Input::optional);
        visit("k_win", "v_win", x.win, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]", Input::optional);
    }
};

struct NsaOptions {
    std::int64_t cmp_size = 32;       ///< tokens of a compressed block
    std::int64_t cmp_stride = 16;     ///< from compressed block to block; divides cmp_size and slc_size
    std::int64_t slc_size = 64;       ///< tokens of a selected block, at least cmp_size
    std::int64_t top_n = 16;          ///< selected blocks, the forced ones among them
    std::int64_t window = 512;        ///< keys of the window, the query's own among them
    std::int64_t init_blocks = 1;     ///< first blocks that are always selected
    std::int64_t local_blocks = 2;    ///< last blocks that are always selected, the query's own among them
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("cmp_size", o.cmp_size, "tokens of a compressed block");
        visit("cmp_stride", o.cmp_stride, "tokens from compressed block to block");
        visit("slc_size", o.slc_size, "tokens of a selected block");
        visit("top_n", o.top_n, "selected blocks");
        visit("window", o.window, "keys of the window, the query's own among them");
        visit("init_blocks", o.init_blocks, "first blocks that are always selected");
        visit("local_blocks", o.local_blocks, "last blocks that are always selected, the query's own among them");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// A sum of three attentions has no lse: that must be null.
struct NsaOutputs : SparseOutputs {
    Heads<float> o_cmp = {}, o_slc = {},
                 o_win = {};  ///< the branches before their gates, [Hq, Tq, Dv], or without data
};

/// The selection alone: a list for each K/V head and query. Throws Error on shapes and options that do not fit.
void nsa_lists(const NsaInputs& x, KeyLists& lists, const NsaOptions& options = {},
               Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void nsa(const NsaInputs& x, const NsaOutputs& out, const NsaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/pages/nsa.inl>
#endif
