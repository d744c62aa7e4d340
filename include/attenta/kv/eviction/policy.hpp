// Which tokens a cache keeps.
//
// A policy says what it must see, what it keeps beside each token, and how it scores tokens; who is kept, ties, moving rows
// and the time of it belong to the Evictor.
//
//     struct Knorm : EvictionPolicy {                      // keeps the keys of the smallest norm
//         EvictionNeeds needs(const EvictionShape&) override { return {.columns = 1, .keys = true}; }
//         void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float*) override {
//             held.column(0)[slot] = -norm(k);
//         }
//         void judge(const EvictionMoment&, std::span<const HeldTokens> heads, std::span<EvictionChoice> choices) override {
//             for (g of heads) choices[g] = {.scores = heads[g].column(0), .keep = budget, .recent = recent};
//         }
//     };
//
// Tokens stand in slots, in any order; positions say where they are in the text (HeldTokens::positions), and
// HeldTokens::slots lists the slots in the order of positions. Columns are floats or bytes beside each slot; they are zero for
// a new token and move with it.
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string_view>

ATTENTA_BEGIN

class KvCache;

/// How scores of the query heads of a K/V head become one.
enum class GroupScore : std::uint8_t { mean, sum, max };
constexpr auto names_of(GroupScore) { return std::to_array<std::string_view>({"mean", "sum", "max"}); }

struct EvictionShape {
    std::int64_t query_heads = 0, kv_heads = 0, dim = 0, dim_v = 0;
    std::int64_t group() const { return query_heads / kv_heads; }
};

/// What attention and the cache must hand to a policy; the rest costs nothing.
struct EvictionNeeds {
    std::int64_t columns = 0;       ///< floats beside each token of a K/V head
    std::int64_t byte_columns = 0;  ///< and bytes
    bool weights = false;           ///< the attention weights of each newest query
    std::int64_t window = 0;        ///< newest queries that are kept, for weights of them over what is held
    bool rows = false;              ///< keys and values as they arrive
};

/// The tokens of a K/V head.
struct HeldTokens {
    std::int64_t head = 0;
    std::span<const std::int32_t> positions;  ///< by slot
    std::span<const std::int32_t> slots;      ///< in the order of their positions
    float* columns = nullptr;
    std::uint8_t* byte_columns = nullptr;
    std::int64_t column_stride = 0;
    const KvCache* cache = nullptr;
    int layer = 0;

    std::int64_t size() const { return static_cast<std::int64_t>(positions.size()); }
    /// [size()] by slot.
    float* column(std::int64_t i) const { return columns + i * column_stride; }
    std::uint8_t* byte_column(std::int64_t i) const { return byte_columns + i * column_stride; }
    /// Position of the n-th newest token; tokens from there on are the n newest. Behind all for n = 0.
    std::int64_t newest(std::int64_t n) const {
        if (n <= 0) return std::numeric_limits<std::int64_t>::max();
        return n >= size() ? 0 : positions[static_cast<std::size_t>(slots[static_cast<std::size_t>(size() - n)])];
    }
    /// K and V of a slot as attention sees them.
    void load_key(std::int64_t slot, float* to) const;
    void load_value(std::int64_t slot, float* to) const;
};

namespace eviction {

/// Tokens of the fullest head.
inline std::int64_t most_held(std::span<const HeldTokens> heads) {
    std::int64_t n = 0;
    for (const HeldTokens& held : heads) n = std::max(n, held.size());
    return n;
}

}  // namespace eviction

/// Attention weights over what is held, exact, of any query that the policy may still see: all of the prompt, later the
/// last EvictionNeeds::window. Products of other rows with the held keys, too.
class HeldAttention {
public:
    virtual ~HeldAttention() = default;
    /// f(query head, position of the query, weights by slot) for `count` queries from position `first` on; of a query head
    /// in the order of positions. Weights are those over the held tokens that are not newer than the query.
    using Row = std::function<void(std::int64_t head, std::int64_t query, std::span<const float> weights)>;
    virtual void rows(std::int64_t first, std::int64_t count, const Row& f) = 0;
    /// Sums of all rows of the prompt, sums [Hq, stride] by slot. After the prompt alone.
    virtual void sums(float* sums, std::int64_t stride) = 0;
    /// f(head, row, x·k by slot) for all rows of x [H, n, D], H a multiple of the K/V heads; of a head in their order.
    virtual void products(Heads<const float> x, const Row& f) = 0;
};

/// When a policy is asked, and what it may look at.
struct EvictionMoment {
    bool prompt = false;    ///< after the prompt; otherwise after a token
    std::int64_t seen = 0;  ///< tokens of the sequence so far: the newest query stands at seen - 1
    HeldAttention* attention = nullptr;
    const float* weights = nullptr;  ///< of the newest query, [Hq, stride] by slot, if needed; null after the prompt
    std::int64_t weights_stride = 0;
    Heads<const float> o;  ///< what the newest query got, [Hq, 1, Dv]; without data after the prompt
    EvictionShape shape;
    /// Whether who asks looks at all scores; otherwise those that are not the lowest may be below the truth.
    bool every_score = false;

    /// Weights of the newest query in a query head.
    const float* newest(std::int64_t head) const { return weights + head * weights_stride; }
};

/// What a policy wants of a head: of its tokens those that are protected, and of the others the best, until `keep` are
/// kept. Of equal scores the later position is kept.
struct EvictionChoice {
    const float* scores = nullptr;  ///< [size()] by slot; null: later positions are better
    std::int64_t keep = std::numeric_limits<std::int64_t>::max();
    std::int64_t sink = 0;    ///< tokens at positions below this are protected,
    std::int64_t recent = 0;  ///< and so many of the newest ones
};

class EvictionPolicy {
public:
    virtual ~EvictionPolicy() = default;

    /// Throws Error where its options do not fit. Called once, before the first token.
    virtual EvictionNeeds needs(const EvictionShape& shape) = 0;
    /// Tokens are about to come, after which the sequence has `seen`. Throws Error where the policy has not been given what
    /// it must know of them.
    virtual void expect(std::int64_t /*seen*/) {}
    /// A token came into a slot: its key and value as they were appended.
    virtual void arrive(const HeldTokens& /*held*/, std::int64_t /*slot*/, const float* /*k*/, const float* /*v*/) {}
    /// After the prompt and after each token, whether or not anything is evicted then.
    virtual void observe(const EvictionMoment& /*now*/, std::span<const HeldTokens> /*heads*/) {}
    /// Who is kept; choices [heads] keep everything unless they are written.
    virtual void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                       std::span<EvictionChoice> choices) = 0;
    /// The tokens in slots `gone` of a head are about to leave: the last chance to put something of them into others, by
    /// KvCache::replace.
    virtual void leave(const HeldTokens& /*held*/, std::span<const std::int32_t> /*gone*/, KvCache& /*cache*/) {}
};

ATTENTA_END
