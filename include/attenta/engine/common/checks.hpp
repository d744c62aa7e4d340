// What the arrays of a call must be: there, aligned, of the right size and apart from each other.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/bytes.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace checks {

inline std::string text(std::int64_t n) { return std::to_string(n); }

/// Throws Error unless n is at least `least`.
inline void require_at_least(const char* f, const char* name, std::int64_t n, std::int64_t least) {
    if (n < least) fail(f, std::string(name) + " is " + text(n) + ", needs at least " + text(least));
}

inline std::string shape(std::int64_t a, std::int64_t b, std::int64_t c) {
    std::string s(1, '[');
    return s.append(text(a)).append(", ").append(text(b)).append(", ").append(text(c)).append(1, ']');
}

/// More than any memory holds; sums and products of fewer do not overflow.
inline constexpr std::int64_t most_elements = std::int64_t{1} << 48;
constexpr std::int64_t elements(std::int64_t a, std::int64_t b, std::int64_t c) {
    return saturating::multiply(saturating::multiply(a, b), c);
}

inline bool misaligned(const void* p, std::int64_t size) {
    return reinterpret_cast<std::uintptr_t>(p) % static_cast<std::uintptr_t>(size) != 0;
}

inline void check_pointer(const char* f, const char* name, const void* p, std::int64_t element, bool needed) {
    if (needed && !p) fail(f, std::string(name) + " is null, has elements to hold");
    if (misaligned(p, element))
        fail(f, std::string(name) + " is misaligned: its address is no multiple of " + text(element) +
                    ", the size of an element");
}

inline void check_output(const char* f, std::int64_t heads, std::int64_t tokens, std::int64_t dim, Heads<float> o,
                         const char* name = "o") {
    if (o.heads != heads || o.tokens != tokens || o.dim != dim)
        fail(f, std::string(name) + " is " + shape(o.heads, o.tokens, o.dim) + ", needs " + shape(heads, tokens, dim));
    if (o.tokens == 0) return;
    const auto extent = [&](std::int64_t count, std::int64_t stride) {
        return saturating::add(saturating::multiply(count - 1, stride), o.dim);
    };
    const std::int64_t across = extent(o.heads, o.head_stride), along = extent(o.tokens, o.token_stride);
    const bool tokens_ok = o.tokens <= 1 || o.token_stride >= o.dim, heads_ok = o.heads <= 1 || o.head_stride >= o.dim;
    const bool apart = o.tokens <= 1 || o.heads <= 1 || o.head_stride >= along || o.token_stride >= across;
    if (!tokens_ok || !heads_ok || !apart)
        fail(f, std::string(name) + " has strides " + text(o.head_stride) + " of heads and " + text(o.token_stride) +
                    " of tokens, rows of " + text(o.dim) + " features need more: they overlap");
}

inline std::int64_t longest(const KvView& kv) {
    std::int64_t n = 0;
    for (std::int64_t s = 0; s < kv.sequences; ++s) n = std::max(n, kv.length(s));
    return n;
}

/// A table with a row of `count` integers for each sequence.
inline Bytes table(const KvView& kv, const std::int32_t* data, std::int64_t stride, std::int64_t count) {
    constexpr std::int64_t size = sizeof(std::int32_t);
    if (!data || count < 1 || kv.sequences < 1) return {};
    return Bytes::of(data, saturating::multiply(count, size),
                     {{{kv.sequences, saturating::multiply(stride, size)}, {}, {}}});
}

inline std::array<NamedBytes, 7> inputs(Heads<const float> q, const KvView& kv) {
    return {{{"q", bytes_of(q)},
             {"k", bytes_of(kv, kv.k)},
             {"v", bytes_of(kv, kv.v)},
             {"block_table", table(kv, kv.block_table, kv.table_stride, kv.table_stride)},
             {"kv.lengths", table(kv, kv.lengths, 1, 1)},
             {"kv.starts", table(kv, kv.starts, 1, 1)},
             {"kv.positions",
              table(kv, kv.positions, kv.positions_stride,
                    saturating::add(saturating::multiply(kv.heads - 1, kv.positions_head_stride), longest(kv)))}}};
}

inline void check_apart(const char* f, const char* output, const Bytes& bytes, std::span<const NamedBytes> inputs) {
    for (const NamedBytes& in : inputs)
        if (bytes.meets(in.bytes)) fail(f, std::string(output) + " overlaps " + in.name + ", needs memory of its own");
}

inline void check_extent(const char* f, const char* name, const Bytes& b) {
    if (b.size() >= Bytes::too_many) fail(f, std::string(name) + " has sizes and strides that no memory holds");
}

/// Sequences behind each other in the tokens of a call: sequence s has tokens starts[s] .. starts[s + 1] - 1 and slots[s].
inline void check_starts(const char* f, std::span<const std::int64_t> starts, std::span<const std::int64_t> slots,
                         std::int64_t tokens) {
    const auto size = [](std::span<const std::int64_t> x) { return text(static_cast<std::int64_t>(x.size())); };
    if (starts.empty()) fail(f, "starts has 0 elements, needs to go from 0 to the " + text(tokens) + " tokens");
    if (starts.front() != 0 || starts.back() != tokens)
        fail(f, "starts goes from " + text(starts.front()) + " to " + text(starts.back()) + ", needs 0 to the " +
                    text(tokens) + " tokens");
    for (std::size_t i = 1; i < starts.size(); ++i)
        if (starts[i] < starts[i - 1])
            fail(f, "starts has " + text(starts[i]) + " behind " + text(starts[i - 1]) + ", needs no less");
    if (slots.size() + 1 != starts.size())
        fail(f, "slots has " + size(slots) + " elements, needs " + size(starts.subspan(1)) + " for these starts");
}

/// o [heads, tokens, dim] and lse [heads, tokens] or null of an attention: their shape and memory of their own.
inline void check_results(const char* f, std::int64_t heads, std::int64_t tokens, std::int64_t dim, Heads<float> o,
                          const float* lse, std::span<const NamedBytes> inputs) {
    check_output(f, heads, tokens, dim, o);
    const bool some = heads > 0 && tokens > 0;
    check_pointer(f, "o", o.data, sizeof(float), some && dim > 0);
    const Bytes bytes = bytes_of(o);
    check_extent(f, "o", bytes);
    check_apart(f, "o", bytes, inputs);
    if (!lse || !some) return;
    const Bytes sums = Bytes::of(lse, saturating::multiply(saturating::multiply(heads, tokens), sizeof(float)));
    check_pointer(f, "lse", lse, sizeof(float), true);
    check_apart(f, "lse", sums, inputs);
    if (sums.meets(bytes)) fail(f, "lse overlaps o, needs memory of its own");
}

}  // namespace checks

ATTENTA_END
