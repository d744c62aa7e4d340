// Mixture of block attention: each query reads the blocks whose mean key it likes best. Lu et al. 2025, "MoBA: Mixture of Block
// Attention for Long-Context LLMs", eq. 3-6.
//
//   gate(q, block) = q · mean of the block's keys, of complete earlier blocks
//   A(h, i) = j <= i in the query's own block and in the top_k − 1 earlier blocks of the largest gates
//
// Time Tk/block_size·D to rank and top_k·block_size·(D + Dv) to attend, per head and query.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/key_panels.hpp>

ATTENTA_BEGIN

/// The mean key of each complete block. Kept beside a cache, O(D) for each new key.
class BlockMeans {
public:
    BlockMeans() = default;
    /// Throws Error on sizes below 1.
    BlockMeans(std::int64_t kv_heads, std::int64_t dim, std::int64_t block_size, Dtype storage = Dtype::f32);

    /// The keys that the cache holds beyond those seen so far. Throws Error where heads or features differ.
    void update(const KvView& kv);
    std::int64_t keys() const { return keys_; }
    std::int64_t block_size() const { return block_size_; }
    const KeyPanels& rows() const { return table_; }  ///< [kv_heads, complete blocks, dim]

private:
    std::int64_t block_size_ = 0, keys_ = 0;
    std::vector<double> sums_;  ///< [kv_heads, dim] of the block that is not complete
    KeyPanels table_;
};

/// `means` of all keys in blocks of the options' size, or null: they are made for this call.
struct MobaInputs {
    Heads<const float> q;
    KvView kv;
    const BlockMeans* means = nullptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct MobaOptions {
    std::int64_t block_size = 512;    ///< keys of a block
    std::int64_t top_k = 3;           ///< blocks that a query reads, its own among them
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("block_size", o.block_size, "keys of a block");
        visit("top_k", o.top_k, "blocks that a query reads, its own among them");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone: a list for each query head and query. Throws Error on shapes and options that do not fit.
void moba_lists(const MobaInputs& x, KeyLists& lists, const MobaOptions& options = {},
                Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void moba(const MobaInputs& x, const SparseOutputs& out, const MobaOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/pages/moba.inl>
#endif
