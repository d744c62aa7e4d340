// Which keys a query may see.
//
// A mask answers by row, as at most two intervals of key positions (`spans`) or as a row of bits (`bits`), and
// classifies a tile: empty tiles are skipped, full ones not tested. Masks compose: `Causal{} && Window{1023} ||
// Global{4}`.
//
// A mask of one's own is any trivially copyable struct of at most Mask::capacity bytes with
//     Spans spans(const QueryRow& row) const;                       or
//     void bits(const QueryRow& row, const KeyBlock& keys, std::uint64_t* words) const;    // clear what is not visible
// and, optionally,
//     Cover classify(const QueryRow& first, const QueryRow& last, const KeyBlock& keys) const;
//     Interval hull(const QueryRow& first, const QueryRow& last) const;    // positions outside are seen by no row
// Rows of a tile belong to one sequence and one head of K/V; `first` and `last` bound their indices and positions, which
// may lie anywhere: sums with them should not leave the type (core/saturating.hpp).
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

/// Positions begin .. end - 1.
struct Interval {
    std::int64_t begin = 0, end = 0;
    constexpr bool empty() const { return begin >= end; }
};

inline constexpr Interval everywhere{saturating::least, saturating::most};

constexpr Interval intersect(Interval a, Interval b) {
    const Interval both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
    return both.empty() ? Interval{} : both;
}
constexpr Interval hull(Interval a, Interval b) {
    if (a.empty()) return b;
    if (b.empty()) return a;
    return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

/// The visible positions of a row; unused intervals are empty.
struct Spans {
    Interval first, second;
};

enum class Cover : std::uint8_t { none, some, all };

/// A query: its head, its number among the queries of its sequence, its position, and which sequence of the batch it is of.
struct QueryRow {
    int head = 0;
    std::int64_t index = 0, position = 0, sequence = 0;
};

/// Keys `begin` .. `begin + count - 1` of a sequence's cache, at `positions[0 .. count-1]`, or where that is null at
/// positions equal to their index.
struct KeyBlock {
    std::int64_t begin = 0;
    std::int64_t count = 0;
    const std::int32_t* positions = nullptr;

    std::int64_t position(std::int64_t i) const { return positions ? positions[i] : begin + i; }
    KeyBlock slice(std::int64_t first, std::int64_t n) const {
        return {begin + first, n, positions ? positions + first : nullptr};
    }
    Interval range() const {
        if (!positions) return {begin, begin + count};
        const auto [low, high] = std::minmax_element(positions, positions + count);
        return {*low, std::int64_t{*high} + 1};
    }
};

namespace detail {

/// Clears the bits outside [begin, end).
inline void keep_bits(std::uint64_t* words, std::int64_t count, std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = 0; w * 64 < count; ++w) {
        const std::int64_t lo = std::clamp<std::int64_t>(begin - w * 64, 0, 64),
                           hi = std::clamp<std::int64_t>(end - w * 64, 0, 64);
        const std::uint64_t below_hi = hi == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << hi) - 1;
        const std::uint64_t below_lo = lo == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << lo) - 1;
        words[w] &= lo < hi ? below_hi & ~below_lo : 0;
    }
}

inline void keep_spans(const Spans& s, const KeyBlock& keys, std::uint64_t* words) {
    const auto inside = [](Interval a, std::int64_t p) { return p >= a.begin && p < a.end; };
    if (keys.positions) {
        for (std::int64_t i = 0; i < keys.count; ++i)
            if (!inside(s.first, keys.positions[i]) && !inside(s.second, keys.positions[i]))
                words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        return;
    }
    const auto shifted = [&](Interval a) {
        a = intersect(a, {keys.begin, keys.begin + keys.count});
        return Interval{a.begin - keys.begin, a.end - keys.begin};
    };
    const Interval a = shifted(s.first), b = shifted(s.second);
    if (b.empty()) return keep_bits(words, keys.count, a.begin, a.end);
    for (std::int64_t w = 0; w * 64 < keys.count; ++w) {
        std::uint64_t x = ~std::uint64_t{0}, y = x;
        keep_bits(&x, 64, a.begin - w * 64, a.end - w * 64);
        keep_bits(&y, 64, b.begin - w * 64, b.end - w * 64);
        words[w] &= x | y;
    }
}

template <class M>
concept SpanMask = requires(const M m, QueryRow r) {
    m.spans(r);
};
template <class M>
concept ClassifyingMask = requires(const M m, QueryRow r, KeyBlock k) {
    m.classify(r, r, k);
};
template <class M>
concept BoundedMask = requires(const M m, QueryRow r) {
    m.hull(r, r);
};

template <class M>
void mask_bits(const M& m, const QueryRow& row, const KeyBlock& keys, std::uint64_t* words) {
    if constexpr (SpanMask<M>)
        keep_spans(m.spans(row), keys, words);
    else
        m.bits(row, keys, words);
}

template <class M>
Cover mask_cover(const M& m, const QueryRow& first, const QueryRow& last, const KeyBlock& keys) {
    if constexpr (ClassifyingMask<M>)
        return m.classify(first, last, keys);
    else
        return Cover::some;
}

template <class M>
Interval mask_hull(const M& m, const QueryRow& first, const QueryRow& last) {
    if constexpr (BoundedMask<M>)
        return m.hull(first, last);
    else
        return everywhere;
}

}  // namespace detail

/// Any mask, by value. An empty one shows everything.
class Mask {
public:
    static constexpr std::size_t capacity = 160;

    Mask() = default;
    template <class M>
    requires(!std::is_same_v<M, Mask> && (detail::SpanMask<M> || requires(const M m, QueryRow r, KeyBlock k,
                                                                          std::uint64_t* w) { m.bits(r, k, w); }))
        Mask(const M& m)
        : bits_([](const void* s, const QueryRow& r, const KeyBlock& k, std::uint64_t* w) {
              detail::mask_bits(*static_cast<const M*>(s), r, k, w);
          }),
          cover_([](const void* s, const QueryRow& a, const QueryRow& b, const KeyBlock& k) {
              return detail::mask_cover(*static_cast<const M*>(s), a, b, k);
          }),
          hull_([](const void* s, const QueryRow& a, const QueryRow& b) {
              return detail::mask_hull(*static_cast<const M*>(s), a, b);
          }) {
        static_assert(sizeof(M) <= capacity && std::is_trivially_copyable_v<M>,
                      "a mask is a small struct of values and borrowed pointers");
        ::new (static_cast<void*>(storage_)) M(m);
    }

    explicit operator bool() const { return bits_ != nullptr; }
    /// Clears the bits of the keys that the row does not see.
    void bits(const QueryRow& row, const KeyBlock& keys, std::uint64_t* words) const {
        if (bits_) bits_(storage_, row, keys, words);
    }
    Cover classify(const QueryRow& first, const QueryRow& last, const KeyBlock& keys) const {
        return cover_ ? cover_(storage_, first, last, keys) : Cover::all;
    }
    Interval hull(const QueryRow& first, const QueryRow& last) const {
        return hull_ ? hull_(storage_, first, last) : everywhere;
    }

private:
    void (*bits_)(const void*, const QueryRow&, const KeyBlock&, std::uint64_t*) = nullptr;
    Cover (*cover_)(const void*, const QueryRow&, const QueryRow&, const KeyBlock&) = nullptr;
    Interval (*hull_)(const void*, const QueryRow&, const QueryRow&) = nullptr;
    alignas(8) std::byte storage_[capacity];
};

/// Several masks at once: a key is visible if all of them show it. Borrowed.
struct MaskSet {
    const Mask* masks = nullptr;
    std::int64_t count = 0;

    explicit operator bool() const { return count > 0; }
    void bits(const QueryRow& row, const KeyBlock& keys, std::uint64_t* words) const {
        for (std::int64_t m = 0; m < count; ++m) masks[m].bits(row, keys, words);
    }
    Cover classify(const QueryRow& first, const QueryRow& last, const KeyBlock& keys) const {
        Cover c = Cover::all;
        for (std::int64_t m = 0; m < count && c != Cover::none; ++m)
            c = std::min(c, masks[m].classify(first, last, keys));
        return c;
    }
    Interval hull(const QueryRow& first, const QueryRow& last) const {
        Interval h = everywhere;
        for (std::int64_t m = 0; m < count; ++m) h = intersect(h, masks[m].hull(first, last));
        return h;
    }
};

ATTENTA_END
