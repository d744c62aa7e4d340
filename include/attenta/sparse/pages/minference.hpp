// MInference: one pattern per head, found offline. Jiang et al. 2024, "MInference 1.0: Accelerating Pre-filling for
// Long-Context LLMs via Dynamic Sparse Attention", section 3.2, algorithms 2 and 3. For prefill, Tq = Tk = T.
//
//   a_shape         j <= i and (j < sink or i - j < local)
//   vertical_slash  A = causal attention of the last last_q queries; columns j of the largest Σ_i A_ij, the first `sink`
//                   among them, offsets o of the largest Σ_i A_i,i-o, the first `local` among them;
//                   j <= i and (j is such a column or i - j such an offset)
//   block_sparse    blocks of the largest mean(q of a block) · mean(k of a block), up to the queries' own, which is not forced
//
// With `block` B > 1 an offset o counts per block of B queries that ends before e: keys t - B .. t - 1, t = max(e - o, B),
// where o < e. Ties go to the lower index. Columns are gathered once for all queries, offsets are a mask over tiles, of
// which those without one are skipped. Time last_q·T·D per head to rank, then the pairs that are read.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class MinferencePattern : std::uint8_t { a_shape, vertical_slash, block_sparse };
constexpr std::array<std::string_view, 3> names_of(MinferencePattern) {
    return {"a_shape", "vertical_slash", "block_sparse"};
}

/// What was found of each query head, ascending.
struct MinferenceSelection {
    std::vector<std::vector<std::int64_t>> columns, offsets;  ///< [Hq] of vertical_slash
    KeyLists blocks;                                          ///< of block_sparse
};

/// `selection` that is kept, or null: it is made for this call.
struct MinferenceInputs {
    Heads<const float> q;
    KvView kv;
    const MinferenceSelection* selection = nullptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct MinferenceOptions {
    MinferencePattern pattern = MinferencePattern::vertical_slash;
    std::int64_t sink = 30;                  ///< first keys that are always read
    std::int64_t local = 100;                ///< last keys that are always read, the query's own among them
    std::int64_t vertical_size = 1000;       ///< columns, those of the sink among them
    std::int64_t slash_size = 6096;          ///< offsets, the local ones among them
    std::int64_t last_q = 64;                ///< queries that find columns and offsets
    std::optional<std::int64_t> block = {};  ///< tokens of a block, default 1, of block_sparse 64
    std::int64_t top_k = 100;                ///< blocks that a block of queries reads
    std::optional<float> scale = {};         ///< default 1/sqrt(D)
    bool check_data = false;                 ///< refuse NaN

    std::int64_t block_size() const { return block.value_or(pattern == MinferencePattern::block_sparse ? 64 : 1); }

    static void fields(auto&& visit, auto& o) {
        visit("pattern", o.pattern, "a_shape, vertical_slash or block_sparse");
        visit("sink", o.sink, "first keys that are always read");
        visit("local", o.local, "last keys that are always read, the query's own among them");
        visit("vertical_size", o.vertical_size, "columns that are kept");
        visit("slash_size", o.slash_size, "offsets that are kept");
        visit("last_q", o.last_q, "queries that find columns and offsets");
        visit("block", o.block, "tokens of a block, default 1, of block_sparse 64");
        visit("top_k", o.top_k, "blocks that a block of queries reads");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// `lists` gets those of block_sparse.
struct MinferenceOutputs : SparseOutputs {
    MinferenceSelection* selection = nullptr;  ///< takes what was found; or null
};

/// The selection alone; a_shape has none. Throws Error on shapes and options that do not fit.
void minference_lists(const MinferenceInputs& x, MinferenceSelection& selection, const MinferenceOptions& options = {},
                      Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void minference(const MinferenceInputs& x, const MinferenceOutputs& out, const MinferenceOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/pages/minference.inl>
#endif
