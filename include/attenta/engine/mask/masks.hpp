// The masks of attenta: windows, prefixes, documents, tensors of bools.
#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/mask/mask.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

/// Keys `left` before to `right` after the query, its own included; -1: unlimited. The last n keys are Window{n - 1, 0};
/// none at all, the n = 0 of other libraries, is Global{0}.
struct Window {
    std::int64_t left = -1, right = -1;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range(), any = hull(a, b);
        const Interval every = intersect(hull(a, a), hull(b, b));
        if (intersect(k, any).empty()) return Cover::none;
        return k.begin >= every.begin && k.end <= every.end ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        return {left < 0 ? everywhere.begin : saturating::add(a.position, -left),
                right < 0 ? everywhere.end : saturating::add(saturating::add(b.position, right), 1)};
    }
};

/// Keys not after the query.
struct Causal : Window {
    Causal() : Window{-1, 0} {}
};

/// Keys at positions 0 .. count - 1, for every query: prefixes, global tokens, the first tokens that StreamingLLM keeps.
struct Global {
    std::int64_t count = 0;

    Spans spans(const QueryRow&) const { return {{0, count}, {}}; }
    Cover classify(const QueryRow&, const QueryRow&, const KeyBlock& keys) const {
        const Interval k = keys.range();
        return k.begin >= count ? Cover::none : k.end <= count && k.begin >= 0 ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow&) const { return {0, count}; }
};

/// The rule that mechanisms share: causal or not, a prefix that every causal query sees, a window that limits both.
struct Visibility {
    bool causal = false;
    std::int64_t prefix = 0;
    Window window;

    bool everything() const { return !causal && window.left < 0 && window.right < 0; }
    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (intersect(k, hull(a, b)).empty()) return Cover::none;
        const Interval every = intersect(hull(a, a), hull(b, b));
        return k.begin >= every.begin && k.end <= every.end ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        Interval w = window.hull(a, b);
        if (causal) w.end = std::min(w.end, std::max(saturating::add(b.position, 1), prefix));
        return w;
    }
};

/// Queries see the keys of their own document: `query` has one for each query of a sequence, `key` one for each key. Without
/// documents they see every key.
struct Documents {
    std::span<const std::int64_t> query, key;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        if (query.empty()) return;
        const std::int64_t own = query.data()[r.index], *of = key.data() + keys.begin;
        for (std::int64_t i = 0; i < keys.count; ++i)
            if (of[i] != own) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        if (query.empty()) return Cover::all;
        const std::int64_t *q = query.data(), *k = key.data() + keys.begin;
        const auto [q0, q1] = std::minmax_element(q + a.index, q + b.index + 1);
        const auto [k0, k1] = std::minmax_element(k, k + keys.count);
        if (*q1 < *k0 || *k1 < *q0) return Cover::none;
        return *q0 == *q1 && *k0 == *k1 ? Cover::all : Cover::some;
    }
};

/// A tensor [1 or heads, 1 or queries, keys] of bools, true: visible. Keys behind its last column are hidden. Without data
/// all are visible.
struct BoolMask {
    Matrices<const bool> visible;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        if (!visible) return;
        const std::int64_t known = std::clamp<std::int64_t>(visible.cols - keys.begin, 0, keys.count);
        const bool* row = visible.row(r.head, r.index) + (known > 0 ? keys.begin : 0);
        for (std::int64_t i = 0; i < known; ++i)
            if (!row[i]) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        if (known < keys.count) detail::keep_bits(words, keys.count, 0, known);
    }
    Cover classify(const QueryRow&, const QueryRow&, const KeyBlock& keys) const {
        if (!visible) return Cover::all;
        return keys.begin < visible.cols ? Cover::some : Cover::none;
    }
};

/// In a batch, a mask for each sequence: M{of[sequence]}. Borrowed.
template <class M, class Description = M>
struct PerSequence {
    const Description* of = nullptr;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        detail::mask_bits(M{of[r.sequence]}, r, keys, words);
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        return detail::mask_cover(M{of[a.sequence]}, a, b, keys);
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const { return detail::mask_hull(M{of[a.sequence]}, a, b); }
};

ATTENTA_END
