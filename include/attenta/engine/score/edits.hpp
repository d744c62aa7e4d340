// The edits of attenta: soft-cap, ALiBi, bias, factors.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cmath>
#include <vector>

ATTENTA_BEGIN

namespace edits {

/// s ← cap · tanh(s / cap)
struct SoftCap {
    float cap;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(SoftCap)

/// s ← s − slopes[head] · |position of the query − position of the key|   (Press et al. 2022)
struct Alibi {
    const float* slopes;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(Alibi)

/// s ← s + bias[head, query, key]; where that is −inf, or the bias has no such column, s ← −inf, whatever s was. In a
/// batch, `per_sequence[s]` is the bias of sequence s; without data it adds nothing.
struct Bias {
    FloatMatrices bias;
    const FloatMatrices* per_sequence = nullptr;

    const FloatMatrices& of(const QueryRow& row) const { return per_sequence ? per_sequence[row.sequence] : bias; }

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(Bias)

/// s ← gain[n] · s + bias[n] for key n of those on the lists (engine/lists), each where it is given, in sequences whose
/// keys are counted on the lists.
struct Listed {
    const float *gain, *bias;
    const std::uint8_t* counted;  ///< [sequences]

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(Listed)

/// s ← s + table[head, query, position of the key − position of the query − first], of `count` distances; those beyond read
/// the nearest, which stands `padding` times on either side (engine/score/distance_table.hpp). A bias of −inf hides a key.
struct DistanceBias {
    static constexpr std::int64_t padding = ScoreTile::most_keys;

    const float* table;
    std::int64_t head_stride, first, count;
    std::int64_t query_stride = 0;  ///< 0: all queries of a head have the same

    const float* row(const QueryRow& row) const { return table + row.head * head_stride + row.index * query_stride; }

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(DistanceBias)

/// s ← s · the same table's number in place of the sum.
struct DistanceGain : DistanceBias {
    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(DistanceGain)

/// Terms that depend on a query and a distance, and on a key and a distance, by tables whose columns distances share:
///   s ← s + query[head, query, query_column[d]] + key[head / group, key, key_column[d]]
/// d is the position of the key minus that of the query minus `first`, the nearest of `count` where it is beyond. Either table
/// may be null. The struct is borrowed.
struct DistanceTerms {
    const float *query = nullptr, *key = nullptr;
    const std::int32_t *query_column = nullptr, *key_column = nullptr;
    std::int64_t columns = 0, queries = 0, keys = 0, group = 1, first = 0, count = 0;
};
struct PairTerms {
    const DistanceTerms* terms;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(PairTerms)

/// s ← s · gain[head / group, key] + shift[head, query], the shift where it is given.
struct KeyGain {
    const float* gain;
    std::int64_t keys, group;
    const float* shift = nullptr;
    std::int64_t queries = 0;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(KeyGain)

}  // namespace edits

using edits::edit;

/// The slopes of Press et al. 2022 for n heads: 2^(-8 (h+1) / m), m the largest power of two <= n; then every other
/// slope of 2 m.
inline std::vector<float> alibi_slopes(int n) {
    int m = 1;
    while (m * 2 <= n) m *= 2;
    std::vector<float> slopes;
    for (int h = 0; h < n; ++h)
        slopes.push_back(static_cast<float>(std::exp2(h < m ? -8.0 * (h + 1) / m : -4.0 * (2 * (h - m) + 1) / m)));
    return slopes;
}

ATTENTA_END
