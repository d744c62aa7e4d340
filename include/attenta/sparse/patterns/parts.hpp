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

/// Keys outside of the interval that a window or chunk shows, or only those `before` it.
template <class M>
struct Outside {
    M inner;
    bool before = false;

    Spans spans(const QueryRow& r) const { return spans(r, r); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        const Spans some = spans(a, b), every = spans(b, a);
        if (intersect(k, some.first).empty() && intersect(k, some.second).empty()) return Cover::none;
        return k.end <= every.first.end || k.begin >= every.second.begin ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        const Spans s = spans(a, b);
        return ATTENTA_ABI::hull(s.first, s.second);
    }

private:
    /// What lies before the interval of b and behind that of a.
    Spans spans(const QueryRow& a, const QueryRow& b) const {
        const std::int64_t behind = before ? everywhere.end : inner.hull(a, a).end;
        return {{everywhere.begin, inner.hull(b, b).begin}, {behind, everywhere.end}};
    }
};

namespace detail {

/// Patterns count tokens as they lie in the cache. Throws Error where they lie in another order.
inline void require_in_order(const SparseCall& call) {
    if (call.kv.positions) fail(call.function, "kv has positions, needs keys in the order of the sequence");
}

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
    KeyLists lists(shape);
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t row = 0; row < shape.rows(); ++row) {
            if (reads(h))
                for (const KeyRun& run : one.runs(row)) lists.add(run.start, run.count);
            lists.end_list();
        }
    return lists;
}

/// Of a part: its keys are on lists and shown by a mask, which may be empty.
inline attention::Request part_of(const SparseCall& call, const KeyLists* lists, const Mask& mask) {
    attention::Request r = call.request();
    if (mask) r.masks.push_back(mask);
    if (lists) r.lists = {lists, 1};
    return r;
}

/// What the two patterns of Sparse Transformers have in common: a window, columns on lists, and who reads them.
struct WindowAndColumns {
    enum class Parts : std::uint8_t { merged, local, columns, alternate } parts;
    Mask window;   ///< of the window
    Mask order;    ///< of the columns
    Mask outside;  ///< of the columns that are not in the window
};

/// columns(odd): their lists, for all heads, or for odd ones alone.
template <class Columns>
void attend(const SparseCall& call, const WindowAndColumns& x, Columns&& columns) {
    using Parts = WindowAndColumns::Parts;
    if (x.parts == Parts::local) return call.attend(x.window);
    if (x.parts == Parts::columns) return call.attend(columns(false), x.order);
    SparseParts parts(call, 2);
    if (x.parts == Parts::merged) {
        const KeyLists lists = columns(false);
        parts.add(part_of(call, nullptr, x.window));
        parts.add(part_of(call, &lists, x.outside));
    } else {
        const auto even = [](std::int64_t h) { return h % 2 == 0; };
        const KeyLists local = for_heads(hull_lists(call, x.window), call.q.heads, even), lists = columns(true);
        parts.add(part_of(call, &local, x.window));
        parts.add(part_of(call, &lists, x.order));
    }
    parts.merge();
}

}  // namespace detail

ATTENTA_END
