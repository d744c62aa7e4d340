#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/kv/pages.hpp>
#include <attenta/kv/row_codec.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

ATTENTA_BEGIN

ATTENTA_INLINE PagePool::PagePool(const PageOptions& options) : options_(options) {
    const char* const f = "PagePool";
    PageOptions& c = options_;
    if (c.dim_v == 0) c.dim_v = c.dim;
    CheckedInt tokens = 16;  // bytes of a number with all its scales, at most
    for (const auto& [name, n] : {std::pair<const char*, std::int64_t>{"layers", c.layers},
                                  {"kv_heads", c.kv_heads},
                                  {"dim", c.dim},
                                  {"dim_v", c.dim_v},
                                  {"page_size", c.page_size},
                                  {"pages", c.pages}}) {
        if (n < 1) fail(f, std::string(name) + " is " + std::to_string(n) + ", needs at least 1");
        if (name != std::string("dim_v")) tokens = tokens * n;
    }
    if (!tokens.valid() || !(tokens * c.dim_v).valid() || c.pages > std::numeric_limits<std::int32_t>::max())
        fail(f, "pages is " + std::to_string(c.pages) + ", needs a pool that memory can hold");
    const KvStorage& s = c.storage;
    if (s.sink != 0 || s.recent != 0 || s.k.block != 0 || s.v.block != 0 || s.k.rotation > 1 || s.v.rotation > 1 ||
        s.k.rotation == 0 || s.v.rotation == 0)
        fail(f, "storage has blocks, rotations or floats beside codes, needs rows of their own");
    for (Side* side : {&k_, &v_}) {
        const bool value = side == &v_;
        side->format = value ? s.v : s.k;
        side->dim = value ? c.dim_v : c.dim;
        detail::check_format(f, value ? "v" : "k", side->format, side->dim);
        side->codes = detail::codes_of(side->format, side->dim);
        side->row_bytes = detail::row_bytes(side->format, side->dim);
        side->page_bytes = c.kv_heads * c.page_size * side->row_bytes;
        side->at = layer_bytes_;
        layer_bytes_ += round_up(c.pages * side->page_bytes, 64);
    }
    memory_.reserve(static_cast<std::size_t>((CheckedInt(layer_bytes_) * c.layers).value()));
    holders_.assign(static_cast<std::size_t>(c.pages), 0);
    for (std::int64_t p = c.pages; p-- > 0;) free_.push_back(static_cast<std::int32_t>(p));
}

ATTENTA_INLINE PagePool::Sequence& PagePool::find(const char* function, Name sequence) {
    const auto at = sequences_.find(sequence);
    if (at == sequences_.end()) fail(function, "sequence is " + std::to_string(sequence) + ", needs one that lives");
    return at->second;
}
ATTENTA_INLINE const PagePool::Sequence& PagePool::find(const char* function, Name sequence) const {
    return const_cast<PagePool*>(this)->find(function, sequence);
}

ATTENTA_INLINE std::int64_t PagePool::length(Name sequence) const { return find("PagePool::length", sequence).length; }

ATTENTA_INLINE std::int32_t PagePool::take_page() {
    const std::int32_t page = free_.back();
    free_.pop_back();
    holders_[static_cast<std::size_t>(page)] = 1;
    return page;
}

ATTENTA_INLINE void PagePool::release(std::int32_t page) {
    if (--holders_[static_cast<std::size_t>(page)] == 0) free_.push_back(page);
}

ATTENTA_INLINE std::byte* PagePool::row(const Side& side, int layer, std::int32_t page, std::int64_t head,
                                        std::int64_t token) const {
    return memory_.data() + layer * layer_bytes_ + side.at + page * side.page_bytes +
           (head * options_.page_size + token) * side.row_bytes;
}

ATTENTA_INLINE void PagePool::extend(Name sequence, std::int64_t n) {
    const char* const f = "PagePool::extend";
    if (n < 1) fail(f, "n is " + std::to_string(n) + ", needs at least 1");
    const auto at = sequences_.find(sequence);
    const std::int64_t held = at == sequences_.end() ? 0 : at->second.length, page = options_.page_size;
    if (n > std::numeric_limits<std::int32_t>::max() - held)
        fail(f, "n is " + std::to_string(n) + ", needs a sequence of fewer than 2^31 tokens");
    const auto pages_for = [page](std::int64_t tokens) { return ceil_div(tokens, page); };
    const bool copies = held % page != 0 && holders_[static_cast<std::size_t>(at->second.pages.back())] > 1;
    const std::int64_t needed = pages_for(held + n) - pages_for(held) + (copies ? 1 : 0);
    if (needed > pages_free())
        fail(f, "n is " + std::to_string(n) + ", needs " + std::to_string(needed) + " free pages, the pool has " +
                    std::to_string(pages_free()));
    Sequence& s = sequences_[sequence];
    if (copies) {
        const std::int32_t from = std::exchange(s.pages.back(), take_page());
        for (int layer = 0; layer < options_.layers; ++layer)
            for (const Side* side : {&k_, &v_})
                std::memcpy(row(*side, layer, s.pages.back(), 0, 0), row(*side, layer, from, 0, 0),
                            static_cast<std::size_t>(side->page_bytes));
        release(from);
    }
    s.length += n;
    while (std::ssize(s.pages) < pages_for(s.length)) s.pages.push_back(take_page());
}

/// At most `most` tokens.
ATTENTA_INLINE void PagePool::check_rows(const char* f, std::int64_t most, Heads<const float> k,
                                         Heads<const float> v) const {
    const auto check = [&](const char* name, const Heads<const float>& x, const Side& side) {
        if (x.heads != options_.kv_heads || x.dim != side.dim || x.tokens != k.tokens || x.tokens < 1 ||
            x.tokens > most)
            fail(f, std::string(name) + " is [" + std::to_string(x.heads) + ", " + std::to_string(x.tokens) + ", " +
                        std::to_string(x.dim) + "], needs [" + std::to_string(options_.kv_heads) + ", 1 to " +
                        std::to_string(most) + ", " + std::to_string(side.dim) + "]");
        detail::check_stored(f, name, side.format, x);
    };
    check("k", k, k_);
    check("v", v, v_);
}

ATTENTA_INLINE void PagePool::write(Name sequence, int layer, Heads<const float> k, Heads<const float> v) {
    const char* const f = "PagePool::write";
    const Sequence& s = find(f, sequence);
    const std::int64_t first = s.length - k.tokens, page = options_.page_size;
    if (layer < 0 || layer >= options_.layers)
        fail(f, "layer is " + std::to_string(layer) + ", needs 0 to " + std::to_string(options_.layers - 1));
    check_rows(f, s.length, k, v);
    for (std::int64_t p = first / page; p < std::ssize(s.pages); ++p)
        if (holders_[static_cast<std::size_t>(s.pages[static_cast<std::size_t>(p)])] > 1)
            fail(f, "k has " + std::to_string(k.tokens) + " tokens, needs those of pages that no other sequence holds");
    for (const auto& [x, side] : {std::pair{&k, &k_}, std::pair{&v, &v_}})
        for (std::int64_t h = 0; h < x->heads; ++h)
            for (std::int64_t t = 0; t < x->tokens; ++t)
                detail::store(
                    side->format, side->codes, x->row(h, t), side->dim,
                    row(*side, layer, s.pages[static_cast<std::size_t>((first + t) / page)], h, (first + t) % page));
}

ATTENTA_INLINE void PagePool::append(Name sequence, Heads<const float> k, Heads<const float> v) {
    if (options_.layers != 1)
        fail("PagePool::append", "the pool has " + std::to_string(options_.layers) + " layers, needs extend and write");
    check_rows("PagePool::append", std::numeric_limits<std::int32_t>::max(), k, v);
    extend(sequence, k.tokens);
    write(sequence, 0, k, v);
}

ATTENTA_INLINE void PagePool::fork(Name sequence, Name from, std::int64_t tokens) {
    const char* const f = "PagePool::fork";
    const Sequence& source = find(f, from);
    if (has(sequence)) fail(f, "sequence is " + std::to_string(sequence) + ", needs a name that nobody has");
    if (tokens == -1) tokens = source.length;
    if (tokens < 0 || tokens > source.length)
        fail(f, "tokens is " + std::to_string(tokens) + ", needs -1 or 0 to the " + std::to_string(source.length) +
                    " of sequence " + std::to_string(from));
    const std::int64_t pages = ceil_div(tokens, options_.page_size);
    Sequence fork{{source.pages.begin(), source.pages.begin() + pages}, tokens};
    for (const std::int32_t page : fork.pages) ++holders_[static_cast<std::size_t>(page)];
    sequences_.emplace(sequence, std::move(fork));
}

ATTENTA_INLINE void PagePool::truncate(Name sequence, std::int64_t tokens) {
    const char* const f = "PagePool::truncate";
    Sequence& s = find(f, sequence);
    if (tokens < 0) fail(f, "tokens is " + std::to_string(tokens) + ", needs at least 0");
    s.length = std::min(s.length, tokens);
    while (std::ssize(s.pages) > ceil_div(s.length, options_.page_size)) {
        release(s.pages.back());
        s.pages.pop_back();
    }
}

ATTENTA_INLINE void PagePool::free(Name sequence) {
    for (const std::int32_t page : find("PagePool::free", sequence).pages) release(page);
    sequences_.erase(sequence);
}

ATTENTA_INLINE KvView::Rows PagePool::rows_of(const Side& side) const {
    KvView::Rows r;
    r.data = row(side, 0, 0, 0, 0);
    r.dtype = side.format.dtype;
    r.dim = side.dim;
    r.codes = side.codes;
    const std::int64_t element = size_of(r.dtype);
    r.token_stride = side.row_bytes / element;
    r.head_stride = options_.page_size * r.token_stride;
    r.page_stride = side.page_bytes / element;
    r.layer_stride = layer_bytes_ / element;
    return r;
}

ATTENTA_INLINE KvView PagePool::view(std::span<const Name> sequences) {
    std::size_t width = 1;
    for (const Name name : sequences) width = std::max(width, find("PagePool::view", name).pages.size());
    table_.assign(sequences.size() * width, -1);
    lengths_.clear();
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const Sequence& s = find("PagePool::view", sequences[i]);
        std::copy(s.pages.begin(), s.pages.end(), table_.begin() + static_cast<std::ptrdiff_t>(i * width));
        lengths_.push_back(static_cast<std::int32_t>(s.length));
    }
    KvView r;
    r.k = rows_of(k_);
    r.v = rows_of(v_);
    r.heads = options_.kv_heads;
    r.sequences = std::ssize(sequences);
    r.lengths = lengths_.data();
    r.page_size = options_.page_size;
    r.pages = options_.pages;
    r.block_table = table_.data();
    r.table_stride = static_cast<std::int64_t>(width);
    return r;
}

ATTENTA_END
