#pragma once

#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/patterns/parts.hpp>
#include <attenta/sparse/patterns/token_types.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Keys from their own position to that of their last reader.
struct LastReaderMask {
    const std::int64_t* last;  ///< [K/V heads, keys]
    std::int64_t keys, group;

    void bits(const QueryRow& r, const KeyBlock& block, std::uint64_t* words) const {
        for (std::int64_t i = 0; i < block.count; ++i) {
            const std::int64_t j = block.position(i);
            if (j > r.position || of(r)[j] < r.position) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        }
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& block) const {
        bool some = false, all = true;
        for (std::int64_t i = 0; i < block.count; ++i) {
            const std::int64_t j = block.position(i), end = of(a)[j];
            some = some || (j <= b.position && end >= a.position);
            all = all && j <= a.position && end >= b.position;
        }
        return !some ? Cover::none : all ? Cover::all : Cover::some;
    }
    /// Old global tokens are read for ever.
    Interval hull(const QueryRow&, const QueryRow& b) const { return {0, saturating::add(b.position, 1)}; }

private:
    const std::int64_t* of(const QueryRow& r) const { return last + r.head / group * keys; }
};

}  // namespace detail

ATTENTA_INLINE LastReaders::LastReaders(Heads<const std::int64_t> types, std::int64_t window)
    : heads_(types.heads), keys_(types.tokens) {
    detail::require_at_least("token_types", "window", window, 0);
    last_.resize(static_cast<std::size_t>(saturating::multiply(heads_, keys_)));
    for (std::int64_t h = 0; h < heads_; ++h) {
        std::int64_t next_global = no_limit;
        for (std::int64_t j = keys_ - 1; j >= 0; --j) {
            const std::int64_t type = *types.row(h, j);
            if (type < 0 || type > 2)
                fail("token_types", "types is " + std::to_string(type) + " at [" + std::to_string(h) + ", " +
                                        std::to_string(j) + "], needs 0, 1 or 2");
            last_.data()[h * keys_ + j] = type == 0 ? no_limit : type == 1 ? next_global : saturating::add(j, window);
            if (type == 0) next_global = j;
        }
    }
}

ATTENTA_INLINE Mask LastReaders::mask(std::int64_t query_heads) const {
    return detail::LastReaderMask{last_.data(), keys_, query_heads / heads_};
}

ATTENTA_INLINE KeyLists LastReaders::lists(std::int64_t queries, std::int64_t query_block) const {
    KeyLists lists({heads_, queries, keys_, query_block});
    const KeyLists::Shape& shape = lists.shape();
    std::vector<std::int64_t> alive;
    for (std::int64_t h = 0; h < heads_; ++h) {
        alive.clear();
        std::int64_t next = 0;
        for (std::int64_t row = 0; row < shape.rows(); ++row) {
            const std::int64_t first = keys_ - queries + shape.query(row, 0), end = first + shape.queries_of(row);
            for (; next < end; ++next) alive.push_back(next);
            std::erase_if(alive, [&](std::int64_t j) { return of(h, j) < first; });
            for (const std::int64_t j : alive) lists.add(j, 1);
            lists.end_list();
        }
    }
    return lists;
}

ATTENTA_INLINE void token_types(const TokenTypesInputs& x, const TokenTypesOutputs& out,
                                const TokenTypesOptions& options, Context& context) {
    const auto call = detail::check_sparse("token_types", x, out, options, Positions::last, context);
    if (out.last_reader || out.alive) {
        detail::FurtherOutputs further(call, InputList(x));
        further.add("last_reader", hnd(out.last_reader, x.kv.heads, call.keys(), 1));
        further.add("alive", hnd(out.alive, x.kv.heads, call.keys(), 1));
    }
    const LastReaders readers(x.types, options.window);
    call.attend(readers.lists(x.q.tokens), readers.mask(x.q.heads));
    for (std::int64_t h = 0; h < readers.heads(); ++h)
        for (std::int64_t j = 0; j < readers.keys(); ++j) {
            const std::int64_t last = readers.of(h, j), at = h * readers.keys() + j;
            if (out.last_reader) out.last_reader[at] = last == LastReaders::no_limit ? -1 : last;
            if (out.alive) out.alive[at] = last >= readers.keys() ? 1 : 0;
        }
}

ATTENTA_END
