// What static patterns are made of: chunks of the sequence, what lies outside of a window, lists for some of the heads.
#pragma once

#include <attenta/sparse/common.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// Keys of the query's own chunk of `chunk` tokens and of `overlap` tokens on either side; with `causal` only those not after
/// the query.
struct Chunks {
    std::int64_t chunk = 1, overlap = 0;
    bool causal = false;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range(), every = intersect(hull(a, a), hull(b, b));
        if (intersect(k, hull(a, b)).empty()) return Cover::none;
        return k.begin >= every.begin && k.end <= every.end ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        using saturating::add;
        const std::int64_t end = causal ? add(b.position, 1) : add(add(begin_of(b.position), chunk), overlap);
        return {add(begin_of(a.position), -overlap), end};
    }
    /// First token of a position's chunk.
    std::int64_t begin_of(std::int64_t position) const {
        return (position >= 0 ? position / chunk : ~(~position / chunk)) * chunk;
    }
};

/// Keys outside of the interval that a window or chunk shows: those before it, and those behind it up to `end`.
template <class M>
struct Outside {
    M inner;
    std::int64_t end = 0;

    Spans spans(const QueryRow& r) const { return spans(r, r); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        const Spans some = spans(a, b), every = spans(b, a);
        if (intersect(k, some.first).empty() && intersect(k, some.second).empty()) return Cover::none;
        const bool before = k.begin >= 0 && k.end <= every.first.end,
                   behind = k.begin >= every.second.begin && k.end <= end;
        return before || behind ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        const Spans s = spans(a, b);
        return ATTENTA_ABI::hull(s.first, s.second);
    }

private:
    /// What lies before the interval of b and behind that of a.
    Spans spans(const QueryRow& a, const QueryRow& b) const {
        return {{0, inner.hull(b, b).begin}, {inner.hull(a, a).end, end}};
    }
};

namespace detail {

/// `out.lists` of a call gets what a mask shows each query.
inline void give_lists(const SparseCall& call, const Mask& mask, std::int64_t heads = 1) {
    if (call.out.lists)
        *call.out.lists = KeyLists::of(mask, {.heads = heads, .queries = call.q.tokens, .keys = call.keys()});
}

/// A list for each query of a residue class of positions: its keys.
inline KeyLists residue_lists(const SparseCall& call, std::int64_t step) {
    // Further apart than the keys reach there is no second one of a class.
    step = step < call.keys() ? step : call.keys();
    KeyLists lists({.queries = call.q.tokens, .keys = call.keys(), .query_step = step});
    for (std::int64_t row = 0; row < lists.shape().rows(); ++row) {
        for (std::int64_t j = (call.first_position() + row) % step; j < call.keys(); j += step) lists.add(j, 1);
        lists.end_list();
    }
    return lists;
}

/// A list for each block of queries: the hull of what the mask shows them.
inline KeyLists hull_lists(const SparseCall& call, const Mask& mask) {
    constexpr std::int64_t block = 256;
    KeyLists lists({.queries = call.q.tokens, .keys = call.keys(), .query_block = block});
    for (std::int64_t row = 0; row < lists.shape().rows(); ++row) {
        const std::int64_t first = row * block, last = first + lists.shape().queries_of(row) - 1;
        const Interval seen = intersect({0, call.keys()}, mask.hull({0, first, call.first_position() + first, 0},
                                                                    {0, last, call.first_position() + last, 0}));
        lists.add(seen.begin, seen.end - seen.begin);
        lists.end_list();
    }
    return lists;
}

/// The lists of one head for those query heads h that reads(h) is true of, empty ones for the others.
template <class Reads>
KeyLists for_heads(const KeyLists& one, std::int64_t heads, Reads&& reads) {
    KeyLists::Shape shape = one.shape();
    shape.heads = heads;
    return one.picked(shape, [&](std::int64_t h, std::int64_t row) { return reads(h) ? row : -1; });
}

/// Of a part: its keys are on lists and shown by a mask, which may be empty.
inline attention::Request part_of(const SparseCall& call, const KeyLists* lists, const Mask& mask) {
    attention::Request r = call.request();
    if (mask) r.masks.push_back(mask);
    if (lists) r.lists = {lists, 1};
    return r;
}

/// What the two patterns of Sparse Transformers have in common: a window, columns, and which heads read them. The last is
/// the window in even heads and columns in odd ones.
enum class PatternParts : std::uint8_t { merged, local, columns, alternate };

/// The whole of such a pattern, to be looked at. `columns` says of a head and positions whether they are of a column.
template <class Local, class Columns>
struct LocalAndColumns {
    PatternParts parts;
    bool causal;
    Local local;
    Columns columns;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        const bool odd = r.head % 2 != 0, alternate = parts == PatternParts::alternate;
        const Interval near = local.hull(r, r);
        for (std::int64_t i = 0; i < keys.count; ++i) {
            const std::int64_t j = keys.position(i);
            const bool in_window =
                (alternate ? !odd : parts != PatternParts::columns) && j >= near.begin && j < near.end;
            const bool in_column = (alternate ? odd : parts != PatternParts::local) && (!causal || j <= r.position) &&
                                   columns(r.head, r.position, j);
            if (!in_window && !in_column) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        }
    }
};

/// Attention over such a pattern. make_columns(odd) gives the lists of columns for all heads, or for odd ones alone, of
/// which some keys may be in the window and, where it is causal, after the query.
template <class Local, class MakeColumns>
void attend(const SparseCall& call, PatternParts which, bool causal, const Local& local, MakeColumns&& make_columns) {
    const Mask order = causal ? Mask(Causal{}) : Mask();
    if (which == PatternParts::local) return call.attend(local);
    if (which == PatternParts::columns) return call.attend(make_columns(false), order);
    // A part that shows everything is the whole, to the bit.
    const QueryRow first{0, 0, call.first_position(), 0}, last{0, call.q.tokens - 1, call.keys() - 1, 0};
    if (which == PatternParts::merged && local.hull(last, last).begin <= 0 &&
        (causal || local.hull(first, first).end >= call.keys()))
        return call.attend(local);
    SparseParts parts(call, 2);
    const bool alternate = which == PatternParts::alternate;
    const KeyLists columns = make_columns(alternate);
    if (alternate) {
        const auto even = [](std::int64_t h) { return h % 2 == 0; };
        const KeyLists windows = for_heads(hull_lists(call, local), call.q.heads, even);
        parts.add(part_of(call, &windows, local));
        parts.add(part_of(call, &columns, order));
    } else {
        parts.add(part_of(call, nullptr, local));
        parts.add(part_of(call, &columns, Outside<Local>{local, causal ? 0 : call.keys()}));
    }
    parts.merge();
}

}  // namespace detail

ATTENTA_END
