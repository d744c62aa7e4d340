// Block attention for retrieval-augmented generation: passages read themselves, the last block reads everything. Ma et al.
// 2024, "Block-Attention for Efficient RAG", section 2.
//
//   A(i) = j <= i of the block of i; of a query in the last block all j <= i
//
// K and V of a passage do not depend on the others and can be kept. Time Σ length²·(D + Dv) and last·T·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

/// Queries may be the end of the sequence alone.
struct BlockRagInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> block_starts;  ///< ascending, the first is 0

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("block_starts", x.block_starts, "[N]");
    }
};

struct BlockRagOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Keys not after the query, of its own block; in the last block of all. `starts` is borrowed.
struct Passages {
    std::span<const std::int64_t> starts;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (intersect(k, hull(a, b)).empty()) return Cover::none;
        // The last row before the last block reads least of the keys behind.
        const std::int64_t last = starts.data()[starts.size() - 1];
        const std::int64_t begin = a.position >= last ? 0 : begin_of(std::min(b.position, last - 1));
        return k.begin >= begin && k.end <= a.position + 1 ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        const bool in_last = b.position >= starts.data()[starts.size() - 1];
        return {in_last ? 0 : begin_of(a.position), saturating::add(b.position, 1)};
    }

private:
    /// First token of a position's block.
    std::int64_t begin_of(std::int64_t position) const {
        const std::int64_t *const first = starts.data(), *const end = first + starts.size();
        const std::int64_t* const behind = std::upper_bound(first, end, position);
        return behind == first ? 0 : behind[-1];
    }
};

/// The pattern for `keys` tokens. Throws Error on starts that do not ascend from 0 to less than `keys`.
inline Mask block_rag_mask(std::span<const std::int64_t> block_starts, std::int64_t keys) {
    const auto refuse = [](std::size_t i, std::int64_t got, const std::string& expected) {
        fail("block_rag", "block_starts[" + std::to_string(i) + "] is " + std::to_string(got) + ", needs " + expected);
    };
    if (block_starts.empty()) fail("block_rag", "block_starts has no elements, needs at least one");
    for (std::size_t i = 0; i < block_starts.size(); ++i) {
        const std::int64_t start = block_starts.data()[i], before = i > 0 ? block_starts.data()[i - 1] : -1;
        if (i == 0 && start != 0) refuse(i, start, "0");
        if (start <= before || start >= keys)
            refuse(i, start, std::to_string(before + 1) + " to " + std::to_string(keys - 1));
    }
    return Passages{block_starts};
}

/// Throws Error on shapes and starts that do not fit; nothing is written then.
inline void block_rag(const BlockRagInputs& x, const SparseOutputs& out, const BlockRagOptions& options = {},
                      Context& context = default_context()) {
    const auto call = detail::check_sparse("block_rag", x, out, options, Positions::last, context);
    const Mask mask = block_rag_mask(x.block_starts, call.keys());
    call.attend(mask);
    detail::give_lists(call, mask);
}

ATTENTA_END
