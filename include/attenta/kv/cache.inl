#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/checksum.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/cache.hpp>
#include <attenta/kv/row_codec.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline std::string number(std::int64_t n) { return std::to_string(n); }

}  // namespace detail

ATTENTA_INLINE KvCache::Side KvCache::side(const CacheOptions& c, bool value) {
    Side s;
    s.format = value ? c.storage.v : c.storage.k;
    s.dim = value ? c.dim_v : c.dim;
    detail::check_format("KvCache", value ? "v" : "k", s.format, s.dim);
    if (s.format.rotation == 0) s.format.rotation = detail::power_of_two_in(s.dim);
    if (s.format.dtype != Dtype::codes) s.format.block = 0;
    s.codes = detail::codes_of(s.format, s.dim);
    s.row_bytes = detail::row_bytes(s.format, s.dim);
    return s;
}

ATTENTA_INLINE KvCache::KvCache(const CacheOptions& options) : options_(options) {
    CacheOptions& c = options_;
    if (c.dim_v == 0) c.dim_v = c.dim;
    const std::pair<const char*, std::int64_t> sizes[] = {
        {"layers", c.layers}, {"kv_heads", c.kv_heads}, {"dim", c.dim}, {"dim_v", c.dim_v}, {"capacity", c.capacity}};
    std::string all;
    CheckedInt numbers = 1;
    for (const auto& [name, n] : sizes) {
        if (n < 1) fail("KvCache", std::string(name) + " is " + std::to_string(n) + ", needs at least 1");
        all += std::string(all.empty() ? "" : ", ") + name + " " + std::to_string(n);
        numbers = numbers * n;
    }
    // A bound of what follows, so that this does not overflow; a number takes at most 16 bytes with all its scales.
    if (!(CheckedInt(c.layers) * c.kv_heads * c.capacity * (CheckedInt(c.dim) + c.dim_v) * 16).valid())
        fail("KvCache", all + " need more bytes than 64 bits can count");
    const KvStorage& s = c.storage;
    for (const auto& [name, n] : {std::pair{"sink", s.sink}, {"recent", s.recent}})
        if (n < 0 || n > c.capacity)
            fail("KvCache", std::string(name) + " is " + detail::number(n) + ", needs 0 to the capacity of " +
                                detail::number(c.capacity));
    k_ = side(c, false);
    v_ = side(c, true);
    if (v_.in_blocks()) fail("KvCache", "storage of v has blocks of tokens, needs scales of each token");
    if (k_.in_blocks() && (s.recent < 1 || s.recent % s.k.block != 0 || s.sink > 0))
        fail("KvCache", "recent is " + detail::number(s.recent) + " and sink " + detail::number(s.sink) +
                            ", blocks of keys need a multiple of their " + detail::number(s.k.block) +
                            " tokens, and no sink");
    if (has_exact() && k_.format.dtype != Dtype::codes && v_.format.dtype != Dtype::codes)
        fail("KvCache", "sink and recent are given, needs codes for k or v");
    allocate();
    layers_.resize(static_cast<std::size_t>(c.layers));
    for (Layer& l : layers_) l.lengths.assign(static_cast<std::size_t>(c.kv_heads), 0);
}

/// Memory is [layer, k then v, head, token, dim], and rows of floats beside codes behind it.
ATTENTA_INLINE void KvCache::allocate() {
    const CacheOptions& c = options_;
    std::int64_t at = 0;
    for (Side* s : {&k_, &v_}) {
        s->head_bytes = c.capacity * s->row_bytes;
        if (s->in_blocks()) {
            s->head_bytes += ceil_div(c.capacity, s->format.block) * s->codes.block_bytes(s->dim);
            if (s->head_bytes > std::numeric_limits<std::int32_t>::max())
                fail("KvCache", "capacity is " + detail::number(c.capacity) + ", blocks of keys need fewer tokens");
        }
        s->at = at;
        at = round_up(at + c.kv_heads * s->head_bytes, 64);
    }
    for (Side* s : {&k_, &v_}) {
        s->exact = at;
        if (has_exact()) at = round_up(at + c.kv_heads * exact_rows() * s->dim * std::int64_t{sizeof(float)}, 64);
    }
    layer_bytes_ = at;
    memory_.reserve(static_cast<std::size_t>((CheckedInt(layer_bytes_) * c.layers).value()));
    scratch_.resize(static_cast<std::size_t>(std::max(c.dim, c.dim_v) * std::max<std::int64_t>(1, k_.format.block)));
    if (has_exact()) {
        numbers_.resize(static_cast<std::size_t>(c.capacity));
        std::iota(numbers_.begin(), numbers_.end(), 0);
    }
}

ATTENTA_INLINE KvCache::KvCache(const KvCache& other)
    : options_(other.options_), k_(other.k_), v_(other.v_), layers_(other.layers_), marks_(other.marks_) {
    allocate();
    if (other.memory_.data())  // not moved from
        std::memcpy(memory_.data(), other.memory_.data(), static_cast<std::size_t>(layer_bytes_ * options_.layers));
}

ATTENTA_INLINE KvCache& KvCache::operator=(const KvCache& other) { return *this = KvCache(other); }

ATTENTA_INLINE void KvCache::check_layer(const char* function, int layer) const {
    if (layer < 0 || layer >= options_.layers)
        fail(function, "layer is " + std::to_string(layer) + ", needs 0 to " + std::to_string(options_.layers - 1));
}

ATTENTA_INLINE void KvCache::check_head(const char* function, int layer, std::int64_t head) const {
    check_layer(function, layer);
    if (head < 0 || head >= options_.kv_heads)
        fail(function, "head is " + std::to_string(head) + ", needs 0 to " + std::to_string(options_.kv_heads - 1));
}

ATTENTA_INLINE std::int64_t KvCache::size(int layer) const {
    check_layer("KvCache::size", layer);
    const auto& lengths = layer_at(layer).lengths;
    return *std::max_element(lengths.begin(), lengths.end());
}

ATTENTA_INLINE std::int64_t KvCache::size(int layer, std::int64_t head) const {
    check_head("KvCache::size", layer, head);
    return layer_at(layer).lengths[static_cast<std::size_t>(head)];
}

ATTENTA_INLINE std::int64_t KvCache::seen(int layer) const {
    check_layer("KvCache::seen", layer);
    return layer_at(layer).seen;
}

ATTENTA_INLINE std::byte* KvCache::row(const Side& side, int layer, std::int64_t head, std::int64_t slot) const {
    return memory_.data() + layer * layer_bytes_ + side.at + head * side.head_bytes + slot * side.row_bytes;
}

ATTENTA_INLINE float* KvCache::exact_row(const Side& side, int layer, std::int64_t head, std::int64_t place) const {
    return reinterpret_cast<float*>(memory_.data() + layer * layer_bytes_ + side.exact) +
           (head * exact_rows() + place) * side.dim;
}

/// First position behind those that are codes, once `seen` tokens have come.
ATTENTA_INLINE std::int64_t KvCache::end_of_codes(const Side& side, std::int64_t seen) const {
    const KvStorage& s = options_.storage;
    if (side.in_blocks()) return seen - seen % s.recent;
    return std::max(std::min(s.sink, seen), seen - s.recent);
}

ATTENTA_INLINE void KvCache::check_append(int layer, Heads<const float> k, Heads<const float> v) const {
    check_layer("KvCache::append", layer);
    const CacheOptions& c = options_;
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    const std::int64_t held = size(layer), seen = layer_at(layer).seen;
    const auto check_shape = [&](const char* what, const Heads<const float>& x, std::int64_t dim) {
        if (x.heads != c.kv_heads || x.dim != dim || x.tokens != k.tokens || x.tokens < 0)
            fail("KvCache::append", std::string(what) + " is [" + text(x.heads) + ", " + text(x.tokens) + ", " +
                                        text(x.dim) + "], needs [" + text(c.kv_heads) + ", " + text(k.tokens) + ", " +
                                        text(dim) + "]");
        if (x.tokens > c.capacity - held)
            fail("KvCache::append", std::string(what) + " has " + text(x.tokens) + " tokens, layer " + text(layer) +
                                        " holds " + text(held) + " and has a capacity of " + text(c.capacity));
        if (x.tokens > std::numeric_limits<std::int32_t>::max() - seen)
            fail("KvCache::append", std::string(what) + " has " + text(x.tokens) + " tokens, layer " + text(layer) +
                                        " has seen " + text(seen) + ", needs fewer than 2^31 in all");
    };
    check_shape("k", k, c.dim);
    check_shape("v", v, c.dim_v);
    detail::check_stored("KvCache::append", "k", k_.format, k, layer);
    detail::check_stored("KvCache::append", "v", v_.format, v, layer);
}

/// The row as it is stored: itself, or turned, in memory that the next call takes.
ATTENTA_INLINE const float* KvCache::turned(const Side& side, const float* x) {
    if (side.format.rotation < 2) return x;
    std::copy_n(x, side.dim, scratch_.data());
    detail::rotate_row(scratch_.data(), side.dim, side.format.rotation);
    return scratch_.data();
}

/// Where all tokens are stored in one way.
ATTENTA_INLINE void KvCache::append_rows(const Side& side, int layer, Heads<const float> x) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            detail::store(side.format, side.codes, turned(side, x.row(h, t)), side.dim,
                          row(side, layer, h, size(layer, h) + t));
}

/// Codes of the tokens that are no longer among the newest.
ATTENTA_INLINE void KvCache::make_codes(const Side& side, int layer, Heads<const float> x) {
    const Layer& l = layer_at(layer);
    const std::int64_t sink = options_.storage.sink, begin = std::max(sink, end_of_codes(side, l.seen)),
                       end = end_of_codes(side, l.seen + x.tokens), step = std::max<std::int64_t>(1, side.format.block);
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = begin; t < end; t += step) {
            const auto row_of = [&](std::int64_t token) {
                return token < l.seen ? exact_row(side, layer, h, sink + token - l.tail)
                                      : turned(side, x.row(h, token - l.seen));
            };
            std::byte* const to = row(side, layer, h, t - sink);
            if (!side.in_blocks()) {
                detail::store(side.format, side.codes, row_of(t), side.dim, to);
                continue;
            }
            for (std::int64_t i = step - 1; i >= 0; --i)  // the first row of scratch is that of `turned`
                std::copy_n(row_of(t + i), side.dim, scratch_.data() + i * side.dim);
            std::byte* const block =
                row(side, layer, h, options_.capacity) + t / step * side.codes.block_bytes(side.dim);
            detail::store_block(scratch_.data(), step, side.dim, side.codes, side.format.half_scales, block, to);
        }
}

/// The first and the newest tokens, as floats; those from `tail` on stand behind the sinks.
ATTENTA_INLINE void KvCache::keep_exact(const Side& side, int layer, Heads<const float> x, std::int64_t tail) {
    const Layer& l = layer_at(layer);
    const std::int64_t sink = options_.storage.sink, seen = l.seen, end = seen + x.tokens;
    for (std::int64_t h = 0; h < x.heads; ++h) {
        if (tail != l.tail && tail < seen)
            std::memmove(exact_row(side, layer, h, sink), exact_row(side, layer, h, sink + tail - l.tail),
                         static_cast<std::size_t>((seen - tail) * side.dim) * sizeof(float));
        for (std::int64_t t = seen; t < std::min(sink, end); ++t)
            std::copy_n(turned(side, x.row(h, t - seen)), side.dim, exact_row(side, layer, h, t));
        const std::int64_t first = std::max({sink, seen, std::min(end_of_codes(k_, end), end_of_codes(v_, end))});
        for (std::int64_t t = first; t < end; ++t)
            std::copy_n(turned(side, x.row(h, t - seen)), side.dim, exact_row(side, layer, h, sink + t - tail));
    }
}

ATTENTA_INLINE void KvCache::append(int layer, Heads<const float> k, Heads<const float> v) {
    check_append(layer, k, v);
    Layer& l = layer_at(layer);
    const std::int64_t end = l.seen + k.tokens;
    if (!has_exact()) {
        append_rows(k_, layer, k);
        append_rows(v_, layer, v);
    } else if (k.tokens > 0) {
        make_codes(k_, layer, k);
        make_codes(v_, layer, v);
        const std::int64_t first =
            std::max(options_.storage.sink, std::min(end_of_codes(k_, end), end_of_codes(v_, end)));
        const std::int64_t tail =
            end - l.tail > 2 * options_.storage.recent ? first : std::max(l.tail, options_.storage.sink);
        keep_exact(k_, layer, k, tail);
        keep_exact(v_, layer, v, tail);
        l.tail = tail;
    }
    for (std::int64_t h = 0; h < options_.kv_heads; ++h) {
        std::int32_t& length = l.lengths[static_cast<std::size_t>(h)];
        for (std::int64_t t = 0; !l.slots.empty() && t < k.tokens; ++t) {
            const std::int64_t at = h * options_.capacity + length + t;
            l.positions[static_cast<std::size_t>(at)] = static_cast<std::int32_t>(l.seen + t);
            l.slots[static_cast<std::size_t>(at)] = static_cast<std::int32_t>(length + t);
        }
        length += static_cast<std::int32_t>(k.tokens);
    }
    l.seen = end;
}

ATTENTA_INLINE void KvCache::truncate(std::int64_t tokens) {
    if (tokens < 0) fail("KvCache::truncate", "tokens is " + std::to_string(tokens) + ", needs at least 0");
    for (const Layer& l : layers_)
        for (const Side* s : {&k_, &v_})
            if (has_exact() && tokens > 0 && tokens < l.seen &&
                end_of_codes(*s, l.seen) > std::max(options_.storage.sink, end_of_codes(*s, tokens)))
                fail("KvCache::truncate", "tokens is " + std::to_string(tokens) +
                                              ", needs one after which no floats stand where codes do already");
    std::vector<std::int32_t> late;
    for (int layer = 0; layer < options_.layers; ++layer) {
        Layer& l = layer_at(layer);
        if (tokens >= l.seen) continue;
        for (std::int64_t h = 0; h < options_.kv_heads; ++h) {
            if (!l.moved) {
                std::int32_t& length = l.lengths[static_cast<std::size_t>(h)];
                length = static_cast<std::int32_t>(std::min<std::int64_t>(length, tokens));
                continue;
            }
            late.clear();
            const auto at = positions(layer, h);
            for (std::size_t i = 0; i < at.size(); ++i)
                if (at[i] >= tokens) late.push_back(static_cast<std::int32_t>(i));
            evict(layer, h, late);
        }
        l.seen = tokens;
        if (tokens == 0) l.tail = 0;
    }
}

ATTENTA_INLINE void KvCache::track_positions(int layer) {
    check_layer("KvCache::track_positions", layer);
    Layer& l = layer_at(layer);
    if (!l.slots.empty()) return;
    const auto all = static_cast<std::size_t>(options_.kv_heads * options_.capacity);
    l.positions.resize(all);
    l.slots.resize(all);
    marks_.resize(static_cast<std::size_t>(options_.capacity));
    for (std::int64_t h = 0; h < options_.kv_heads; ++h)
        for (auto* list : {&l.positions, &l.slots})
            std::iota(list->begin() + h * options_.capacity, list->begin() + (h + 1) * options_.capacity, 0);
}

ATTENTA_INLINE std::span<const std::int32_t> KvCache::positions(int layer, std::int64_t head) const {
    const auto n = static_cast<std::size_t>(size(layer, head));
    const Layer& l = layer_at(layer);
    if (l.slots.empty()) fail("KvCache::positions", "the layer is not tracked, needs track_positions");
    return {l.positions.data() + head * options_.capacity, n};
}

ATTENTA_INLINE std::span<const std::int32_t> KvCache::slots(int layer, std::int64_t head) const {
    const auto n = static_cast<std::size_t>(size(layer, head));
    const Layer& l = layer_at(layer);
    if (l.slots.empty()) fail("KvCache::slots", "the layer is not tracked, needs track_positions");
    return {l.slots.data() + head * options_.capacity, n};
}

ATTENTA_INLINE std::span<const KvCache::Move> KvCache::evict(int layer, std::int64_t head,
                                                             std::span<const std::int32_t> slots_gone) {
    const char* const f = "KvCache::evict";
    check_head(f, layer, head);
    if (has_exact()) fail(f, "storage has floats beside codes, needs one without sink and recent");
    const std::int64_t held = size(layer, head);
    track_positions(layer);
    gone_.assign(slots_gone.begin(), slots_gone.end());
    const std::span<const std::int32_t> gone = gone_;
    Layer& l = layer_at(layer);
    const auto refuse = [&](std::int32_t slot) {
        for (const std::int32_t s : gone)
            if (s >= 0 && s < held) marks_[static_cast<std::size_t>(s)] = 0;
        fail(f, "slots have " + std::to_string(slot) + ", needs different ones of 0 to " + std::to_string(held - 1));
    };
    for (const std::int32_t s : gone) {
        if (s < 0 || s >= held || marks_[static_cast<std::size_t>(s)] != 0) refuse(s);
        marks_[static_cast<std::size_t>(s)] = 1;
    }
    std::int32_t* const positions = l.positions.data() + head * options_.capacity;
    std::int32_t* const slots = l.slots.data() + head * options_.capacity;
    const std::int64_t left = held - std::ssize(gone);
    moves_.clear();
    // Holes in the first slots, in any order, take what stands behind them.
    std::int64_t from = held;
    for (const std::int32_t hole : gone) {
        if (hole >= left) continue;
        do --from;
        while (marks_[static_cast<std::size_t>(from)] != 0);
        moves_.push_back({static_cast<std::int32_t>(from), hole});
    }
    const auto rank_of = [&](std::int32_t slot) {
        return std::lower_bound(slots, slots + held, positions[slot],
                                [&](std::int32_t s, std::int32_t position) { return positions[s] < position; });
    };
    if (gone.size() == 1) {
        std::int32_t* const at = rank_of(gone[0]);
        std::copy(at + 1, slots + held, at);
    } else {
        std::copy_if(slots, slots + held, slots,
                     [&](std::int32_t s) { return marks_[static_cast<std::size_t>(s)] == 0; });
    }
    for (const std::int32_t s : gone) marks_[static_cast<std::size_t>(s)] = 0;
    for (const Move& m : moves_) {
        for (const Side* s : {&k_, &v_})
            std::memcpy(row(*s, layer, head, m.to), row(*s, layer, head, m.from),
                        static_cast<std::size_t>(s->row_bytes));
        positions[m.to] = positions[m.from];
        marks_[static_cast<std::size_t>(m.from)] = m.to + 1;
    }
    if (gone.size() == 1 && !moves_.empty()) {
        *std::find(std::make_reverse_iterator(slots + left), std::make_reverse_iterator(slots), moves_[0].from) =
            moves_[0].to;  // mostly the newest
    } else if (!moves_.empty()) {
        for (std::int64_t rank = 0; rank < left; ++rank)
            if (const std::int32_t to = marks_[static_cast<std::size_t>(slots[rank])]; to != 0) slots[rank] = to - 1;
    }
    for (const Move& m : moves_) marks_[static_cast<std::size_t>(m.from)] = 0;
    l.lengths[static_cast<std::size_t>(head)] = static_cast<std::int32_t>(left);
    l.moved = l.moved || !gone.empty();
    return moves_;
}

/// From a slot on.
ATTENTA_INLINE KvView::Rows KvCache::rows_of(const Side& s, int layer, std::int64_t first) const {
    KvView::Rows r;
    r.data = row(s, layer, 0, first);
    r.dtype = s.format.dtype;
    r.dim = s.dim;
    r.head_stride = s.head_bytes / size_of(r.dtype);
    r.token_stride = s.row_bytes / size_of(r.dtype);
    r.codes = s.codes;
    return r;
}

ATTENTA_INLINE KvView::Rows KvCache::exact_rows_of(const Side& s, int layer, std::int64_t place) const {
    KvView::Rows r;
    r.data = exact_row(s, layer, 0, place);
    r.dim = s.dim;
    r.head_stride = exact_rows() * s.dim;
    r.token_stride = s.dim;
    return r;
}

ATTENTA_INLINE KvView KvCache::view(int layer) const {
    check_layer("KvCache::view", layer);
    if (has_exact()) fail("KvCache::view", "storage has floats beside codes, needs views");
    const Layer& l = layer_at(layer);
    KvView r;
    r.k = rows_of(k_, layer, 0);
    r.v = rows_of(v_, layer, 0);
    r.heads = options_.kv_heads;
    r.tokens = size(layer);
    if (!l.moved) return r;
    if (std::any_of(l.lengths.begin(), l.lengths.end(), [&](std::int32_t n) { return n != l.lengths[0]; }))
        r.head_lengths = l.lengths.data();
    r.positions = l.positions.data();
    r.positions_head_stride = options_.capacity;
    r.positions_stride = options_.capacity * options_.kv_heads;
    return r;
}

ATTENTA_INLINE KvView KvCache::view_of_past(int layer) const {
    KvView r = view(layer);
    r.positions = nullptr;
    r.positions_head_stride = 0;
    return r;
}

ATTENTA_INLINE std::vector<KvView> KvCache::views(int layer) const {
    check_layer("KvCache::views", layer);
    if (!has_exact()) return {view(layer)};
    const std::span<const KvView> all = parts(layer);
    return {all.begin(), all.end()};
}

ATTENTA_INLINE KvCache::Parts KvCache::parts(int layer) const {
    const Layer& l = layer_at(layer);
    const std::int64_t sink = options_.storage.sink, k_end = end_of_codes(k_, l.seen), v_end = end_of_codes(v_, l.seen);
    Parts parts;
    const auto add = [&](std::int64_t begin, std::int64_t end) {
        if (begin >= end && (end < l.seen || parts.count > 0)) return;  // nothing at all is one empty view
        KvView& r = parts.views[parts.count++];
        const auto rows = [&](const Side& s, std::int64_t codes_end) {
            if (begin < sink) return exact_rows_of(s, layer, begin);
            return begin < codes_end ? rows_of(s, layer, begin - sink) : exact_rows_of(s, layer, sink + begin - l.tail);
        };
        r.k = rows(k_, k_end);
        r.v = rows(v_, v_end);
        r.heads = options_.kv_heads;
        r.tokens = std::max<std::int64_t>(0, end - begin);
        r.positions = numbers_.data() + begin;
        r.positions_stride = r.tokens;
    };
    add(0, std::min(sink, l.seen));
    add(sink, v_end);
    add(std::max(sink, v_end), k_end);
    add(std::max(sink, k_end), l.seen);
    return parts;
}

ATTENTA_INLINE Heads<const float> KvCache::turn_queries(Heads<const float> q, std::vector<float>& scratch) const {
    if (k_.format.rotation <= 1 || q.dim != k_.dim || q.heads < 1 || q.tokens < 1 || !q.data) return q;
    if (checks::elements(q.heads, q.tokens, q.dim) > checks::most_elements)
        fail("KvCache::attend", "q is " + checks::shape(q.heads, q.tokens, q.dim) + ", more than memory holds");
    scratch.resize(static_cast<std::size_t>(q.heads * q.tokens * q.dim));
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            float* const row = scratch.data() + (h * q.tokens + t) * q.dim;
            std::copy_n(q.row(h, t), q.dim, row);
            detail::rotate_row(row, q.dim, k_.format.rotation);
        }
    return hnd<const float>(scratch.data(), q.heads, q.tokens, q.dim);
}

ATTENTA_INLINE void KvCache::turn_outputs(Heads<float> o) const {
    for (std::int64_t h = 0; v_.format.rotation > 1 && h < o.heads; ++h)
        for (std::int64_t t = 0; t < o.tokens; ++t) detail::rotate_row(o.row(h, t), v_.dim, v_.format.rotation);
}

ATTENTA_INLINE void KvCache::attend(int layer, Heads<const float> q, Heads<float> o, const SoftmaxOptions& options,
                                    float* lse, Context& context) const {
    check_layer("KvCache::attend", layer);
    const Layer& l = layer_at(layer);
    SoftmaxOptions x = options;
    if (!x.q_offset && x.q_offsets.empty()) x.q_offset = l.seen - q.tokens;
    if (k_.format.rotation > 1) {  // then attention reads copies of the queries
        const NamedBytes inputs[] = {{"q", bytes_of(q)}};
        checks::check_extent("KvCache::attend", inputs[0].name, inputs[0].bytes);
        checks::check_apart("KvCache::attend", "o", bytes_of(o), inputs);
    }
    const Heads<const float> queries = turn_queries(q, context.kept<TurnedQueries>().memory);
    const bool newest_alone = q.tokens == 1 && x.q_offset && *x.q_offset == l.seen - 1 && x.window_left < 0 &&
                              x.window_right < 0 && x.alibi_slopes.empty() && x.edits.empty() && !x.visible;
    if (has_exact()) {
        const Parts all = parts(layer);
        softmax_attention(queries, std::span<const KvView>(all), o, x, lse, context);
    } else {
        const bool past = newest_alone && l.moved;
        if (past) {
            x.causal = false;
            x.prefix = 0;
        }
        softmax_attention(queries, past ? view_of_past(layer) : view(layer), o, x, lse, context);
    }
    turn_outputs(o);
}

ATTENTA_INLINE void KvCache::check_slot(const char* f, int layer, std::int64_t head, std::int64_t slot) const {
    check_head(f, layer, head);
    if (has_exact()) fail(f, "storage has floats beside codes, needs one without sink and recent");
    if (slot < 0 || slot >= size(layer, head))
        fail(f, "slot is " + std::to_string(slot) + ", needs 0 to " + std::to_string(size(layer, head) - 1));
}

ATTENTA_INLINE void KvCache::replace(int layer, std::int64_t head, std::int64_t slot, const float* k, const float* v) {
    check_slot("KvCache::replace", layer, head, slot);
    detail::check_stored("KvCache::replace", "k", k_.format, hnd(k, 1, 1, k_.dim));
    detail::check_stored("KvCache::replace", "v", v_.format, hnd(v, 1, 1, v_.dim));
    detail::store(k_.format, k_.codes, turned(k_, k), k_.dim, row(k_, layer, head, slot));
    detail::store(v_.format, v_.codes, turned(v_, v), v_.dim, row(v_, layer, head, slot));
}

ATTENTA_INLINE void KvCache::load_slot(const Side& s, int layer, std::int64_t head, std::int64_t slot,
                                       float* to) const {
    check_slot("KvCache::load", layer, head, slot);
    detail::load_row(row(s, layer, head, slot), s.dim, s.format.dtype, s.codes, to);
    detail::rotate_row(to, s.dim, s.format.rotation);
}

ATTENTA_INLINE void KvCache::load_key(int layer, std::int64_t head, std::int64_t slot, float* to) const {
    load_slot(k_, layer, head, slot, to);
}
ATTENTA_INLINE void KvCache::load_value(int layer, std::int64_t head, std::int64_t slot, float* to) const {
    load_slot(v_, layer, head, slot, to);
}

/// Behind it stand, layer by layer: what it has seen, its tail, whether tokens have moved, whether it is tracked, lengths,
/// positions and slots of a tracked one, and its memory.
struct KvCache::SaveHeader {
    static constexpr std::uint64_t own_magic = 0x3165686361437674;  ///< "tvCache1"

    std::uint64_t magic = own_magic, sum = 0;  ///< checksum of all, itself 0
    std::int64_t layers = 0, kv_heads = 0, dim = 0, dim_v = 0, capacity = 0, sink = 0, recent = 0;
    struct Format {
        std::int64_t dtype = 0, bits = 0, signed_codes = 0, group = 0, block = 0, rotation = 0, half_scales = 0;
    } k, v;

    static Format format(const KvFormat& f) {
        return {static_cast<std::int64_t>(f.dtype),
                f.bits,
                f.signed_codes ? 1 : 0,
                f.group.value_or(0),
                f.block,
                f.rotation,
                f.half_scales ? 1 : 0};
    }
    static KvFormat format(const Format& f) {
        KvFormat r;
        r.dtype = static_cast<Dtype>(std::clamp<std::int64_t>(f.dtype, 0, 255));
        r.bits = static_cast<int>(std::clamp<std::int64_t>(f.bits, 0, 99));
        r.signed_codes = f.signed_codes != 0;
        if (f.group != 0) r.group = f.group;
        r.block = f.block;
        r.rotation = f.rotation;
        r.half_scales = f.half_scales != 0;
        return r;
    }
    std::uint64_t checksum_with(std::span<const std::byte> body) const {
        SaveHeader x = *this;
        x.sum = 0;
        return detail::checksum(body, detail::checksum(std::as_bytes(std::span(&x, 1))));
    }
};

ATTENTA_INLINE std::size_t KvCache::saved_bytes() const {
    std::size_t bytes = sizeof(SaveHeader);
    for (const Layer& l : layers_)
        bytes += 4 * sizeof(std::int64_t) +
                 (l.lengths.size() + l.positions.size() + l.slots.size()) * sizeof(std::int32_t) +
                 static_cast<std::size_t>(layer_bytes_);
    return bytes;
}

ATTENTA_INLINE void KvCache::save(std::span<std::byte> to) const {
    if (to.size() != saved_bytes())
        fail("KvCache::save", "to has " + std::to_string(to.size()) + " bytes, needs " + std::to_string(saved_bytes()));
    const CacheOptions& c = options_;
    SaveHeader x;
    x.layers = c.layers;
    x.kv_heads = c.kv_heads;
    x.dim = c.dim;
    x.dim_v = c.dim_v;
    x.capacity = c.capacity;
    x.sink = c.storage.sink;
    x.recent = c.storage.recent;
    x.k = SaveHeader::format(c.storage.k);
    x.v = SaveHeader::format(c.storage.v);
    std::byte* p = to.data() + sizeof x;
    const auto put = [&p](const void* data, std::size_t bytes) {
        if (bytes > 0) std::memcpy(p, data, bytes);
        p += bytes;
    };
    for (int i = 0; i < c.layers; ++i) {
        const Layer& l = layer_at(i);
        const std::int64_t numbers[] = {l.seen, l.tail, l.moved ? 1 : 0, l.slots.empty() ? 0 : 1};
        put(numbers, sizeof numbers);
        for (const auto* list : {&l.lengths, &l.positions, &l.slots})
            put(list->data(), list->size() * sizeof(std::int32_t));
        put(memory_.data() + i * layer_bytes_, static_cast<std::size_t>(layer_bytes_));
    }
    x.sum = x.checksum_with(to.subspan(sizeof x));
    std::memcpy(to.data(), &x, sizeof x);
}

ATTENTA_INLINE KvCache KvCache::load(std::span<const std::byte> from) {
    const auto refuse = [](const std::string& why) { fail("KvCache::load", "from " + why); };
    SaveHeader x;
    if (from.size() < sizeof x)
        refuse("has " + std::to_string(from.size()) + " bytes, needs at least " + std::to_string(sizeof x));
    std::memcpy(&x, from.data(), sizeof x);
    if (x.magic != SaveHeader::own_magic || x.sum != x.checksum_with(from.subspan(sizeof x)))
        refuse("has another checksum than its bytes, needs a saved cache");
    CacheOptions c;
    c.layers = static_cast<int>(std::clamp<std::int64_t>(x.layers, 0, std::numeric_limits<int>::max()));
    c.kv_heads = x.kv_heads;
    c.dim = x.dim;
    c.dim_v = x.dim_v;
    c.capacity = x.capacity;
    c.storage = {SaveHeader::format(x.k), SaveHeader::format(x.v), x.sink, x.recent};
    KvCache cache(c);
    const std::byte *p = from.data() + sizeof x, *const end = from.data() + from.size();
    const auto get = [&](void* data, std::size_t bytes) {
        if (bytes > static_cast<std::size_t>(end - p)) refuse("is cut off, needs a saved cache");
        if (bytes > 0) std::memcpy(data, p, bytes);
        p += bytes;
    };
    for (int i = 0; i < c.layers; ++i) {
        Layer& l = cache.layer_at(i);
        std::int64_t numbers[4];
        get(numbers, sizeof numbers);
        l.seen = numbers[0];
        l.tail = numbers[1];
        if (numbers[3] != 0) cache.track_positions(i);
        l.moved = numbers[2] != 0;
        for (auto* list : {&l.lengths, &l.positions, &l.slots}) get(list->data(), list->size() * sizeof(std::int32_t));
        get(cache.memory_.data() + i * cache.layer_bytes_, static_cast<std::size_t>(cache.layer_bytes_));
    }
    if (p != end) refuse("has more bytes than a cache of its sizes, needs a saved cache");
    return cache;
}

ATTENTA_END
