// What a request must be, for all mechanisms of exact attention.
#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/attention/positions.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace attention {

namespace checks {

using namespace ATTENTA_ABI::checks;

inline void check_batch(const Request& r) {
    const char* f = r.function;
    const auto sequences = static_cast<std::int64_t>(r.q_lengths.size());
    if (r.q_lengths.empty()) {
        if (r.kv.sequences == 0 && r.q.tokens == 0) return;  // a batch of no sequences
        if (r.kv.sequences != 1)
            fail(f, "q_lengths is empty, needs one length for each of " + text(r.kv.sequences) + " sequences");
        return;
    }
    if (sequences != r.kv.sequences)
        fail(f, "q_lengths has " + text(sequences) + " sequences, K/V have " + text(r.kv.sequences));
    if (!r.q_lengths.data()) fail(f, "q_lengths is null, needs " + text(sequences) + " lengths");
    std::int64_t sum = 0;
    for (const std::int32_t n : r.q_lengths) {
        if (n < 0) fail(f, "q_lengths has " + text(n) + ", lengths are at least 0");
        sum += n;
    }
    if (sum != (r.q_step > 0 ? saturating::multiply(sequences, r.q.tokens) : r.q.tokens))
        fail(f, "q_lengths add up to " + text(sum) + ", q has " + text(r.q.tokens) + " tokens");
}

inline void check_offsets(const Request& r) {
    const char* f = r.function;
    if (r.q_offset && !r.q_offsets.empty()) fail(f, "q_offset and q_offsets are given, needs one of them");
    const auto count = static_cast<std::int64_t>(r.q_offsets.size());
    if (count != 0 && count != r.kv.sequences)
        fail(f, "q_offsets has " + text(count) + " elements, K/V have " + text(r.kv.sequences) + " sequences");
    constexpr std::int64_t most = std::int64_t{1} << 62;  // differences of positions stay inside 64 bits
    const auto check = [&](const char* name, std::int64_t offset) {
        if (offset < -most || offset > most)
            fail(f, std::string(name) + " is " + text(offset) + ", needs -2^62 to 2^62");
    };
    if (r.q_offset) check("q_offset", *r.q_offset);
    for (const std::int64_t offset : r.q_offsets) check("an element of q_offsets", offset);
}

/// Whether some query of a sequence may see keys [begin, end) of it.
class SeenKeys {
public:
    SeenKeys(const Request& r, std::int64_t sequence, std::int64_t queries)
        : r_(r), sequence_(sequence), queries_(queries), offset_(first_position(r, sequence, queries)) {}

    bool operator()(std::int64_t begin, std::int64_t end) const {
        const KvView& kv = r_.kv;
        if (queries_ == 0) return false;
        const MaskSet masks{r_.masks.data(), static_cast<std::int64_t>(r_.masks.size())};
        Task t;
        t.q_offset = offset_;
        t.group = t.heads_per_query = r_.q.heads / kv.heads;
        for (std::int64_t h = 0; h < kv.heads; ++h) {
            const KeyBlock keys = KeyBlock{0, end, kv.positions_of(sequence_, h)}.slice(begin, end - begin);
            if (masks.classify(t.query_row(h, 0), t.query_row(h, queries_ * t.group - 1), keys) != Cover::none)
                return true;
        }
        return false;
    }

private:
    const Request& r_;
    std::int64_t sequence_, queries_, offset_;
};

/// Pages that no query sees may be missing.
inline void check_pages(const Request& r, std::int64_t sequence, std::int64_t queries) {
    const char* f = r.function;
    const KvView& kv = r.kv;
    const std::int64_t keys = kv.length(sequence), needed = keys / kv.page_size + (keys % kv.page_size != 0);
    if (needed == 0) return;
    if (!kv.block_table) fail(f, "block_table is null, needs " + text(needed) + " pages");
    if (needed > kv.table_stride)
        fail(f, "block_table has room for " + text(kv.table_stride) + " pages, sequence " + text(sequence) + " needs " +
                    text(needed));
    const std::int32_t* const table = kv.block_table + sequence * kv.table_stride;
    const auto missing = [&](std::int64_t p) { return table[p] < 0 || table[p] >= kv.pages; };
    const auto first_key = [&](std::int64_t p) { return std::min(p * kv.page_size, keys); };
    std::optional<SeenKeys> seen;
    for (std::int64_t p = 0; p < needed; ++p) {
        if (!missing(p)) continue;
        std::int64_t end = p + 1;
        while (end < needed && missing(end)) ++end;
        if (!seen) seen.emplace(r, sequence, queries);
        const bool some = (*seen)(first_key(p), first_key(end));
        for (; p < end; ++p)
            if (some && (*seen)(first_key(p), first_key(p + 1)))
                fail(f, "block_table[" + text(sequence) + "][" + text(p) + "] is " + text(table[p]) +
                            ", the pool has " + text(kv.pages) + " pages");
    }
}

inline void check_side(const char* f, const KvView::Rows& s, const std::string& side) {
    constexpr std::int64_t most_features = std::int64_t{1} << 24;  // scratch for them is far from 64 bits
    if (!is_dtype(s.dtype) && s.dtype != Dtype::codes) fail(f, side + " has no Dtype, needs f32, bf16, f16 or codes");
    if (s.dim > most_features)
        fail(f, side + " has " + text(s.dim) + " features, needs at most " + text(most_features));
    for (const auto& [what, stride] :
         {std::pair{"token", s.token_stride}, {"head", s.head_stride}, {"page", s.page_stride}})
        if (stride < 0) fail(f, side + " has " + what + " stride " + text(stride) + ", needs at least 0");
    if (s.dtype != Dtype::codes) return;
    if (s.codes.bits != 8 && s.codes.bits != 4 && s.codes.bits != 2)
        fail(f, side + " has codes of " + text(s.codes.bits) + " bits, needs 8, 4 or 2");
    if (s.codes.group < 0 || (s.codes.group > 0 && s.dim % s.codes.group != 0))
        fail(f, side + " has groups of " + text(s.codes.group) + " channels, needs what divides its " + text(s.dim) +
                    " features, or 0");
}

/// What heads hold where they hold different tokens.
inline void check_heads(const char* f, const KvView& kv) {
    const std::int64_t stride = kv.positions_head_stride;
    if (stride < 0) fail(f, "kv.positions_head_stride is " + text(stride) + ", needs at least 0");
    for (std::int64_t s = 0; s < kv.sequences; ++s) {
        for (std::int64_t h = 0; kv.head_lengths && h < kv.heads; ++h)
            if (kv.length(s, h) < 0 || kv.length(s, h) > kv.length(s))
                fail(f, "kv.head_lengths has " + text(kv.length(s, h)) + " for head " + text(h) + ", needs 0 to the " +
                            text(kv.length(s)) + " tokens of its sequence");
        const std::int64_t needed = saturating::add(saturating::multiply(kv.heads - 1, stride), kv.length(s));
        if (kv.positions && stride > 0 && (stride < kv.length(s) || (kv.sequences > 1 && kv.positions_stride < needed)))
            fail(f, "kv.positions_head_stride is " + text(stride) + " in sequences of " + text(kv.positions_stride) +
                        ", sequence " + text(s) + " has " + text(kv.heads) + " heads of " + text(kv.length(s)) +
                        " keys");
    }
}

inline void check_cache(const char* f, const KvView& kv) {
    if (kv.sequences < 0) fail(f, "kv has " + text(kv.sequences) + " sequences, needs at least 0");
    if (kv.sequences > 1 && !kv.lengths) fail(f, "kv.lengths is null, needs " + text(kv.sequences) + " lengths");
    if (kv.page_size < 0) fail(f, "kv.page_size is " + text(kv.page_size) + ", needs at least 0");
    for (const auto& [what, stride] :
         {std::pair{"kv.table_stride", kv.table_stride}, {"kv.positions_stride", kv.positions_stride}})
        if (!(CheckedInt(kv.sequences) * stride).valid())
            fail(f, std::string(what) + " is " + text(stride) + ", needs a table that memory can hold");
    constexpr std::int64_t most_keys = std::int64_t{1} << 40;  // no memory holds more, and sums stay inside 64 bits
    for (std::int64_t s = 0; s < kv.sequences; ++s) {
        const std::int64_t keys = kv.length(s);
        if (keys < 0 || keys > most_keys)
            fail(f, "sequence " + text(s) + " has " + text(keys) + " keys, needs 0 to " + text(most_keys));
        if (kv.starts && kv.starts[s] < 0)
            fail(f, "kv.starts[" + text(s) + "] is " + text(kv.starts[s]) + ", needs at least 0");
        if (kv.positions && kv.positions_stride < keys)
            fail(f, "kv.positions_stride is " + text(kv.positions_stride) + ", sequence " + text(s) + " has " +
                        text(keys) + " keys");
    }
    check_side(f, kv.k, "k");
    check_side(f, kv.v, "v");
    check_heads(f, kv);
}

/// Sums and products that the engine forms of sizes and positions stay in their type.
inline void check_extents(const Request& r) {
    const std::int64_t rows = saturating::multiply(saturating::multiply(r.q.heads, r.q.tokens),
                                                   r.q_step > 0 ? r.kv.sequences : 1),
                       row_bytes = saturating::multiply(std::max(r.q.dim, r.kv.v.dim), sizeof(float));
    if (saturating::multiply(rows, row_bytes) >= Bytes::too_many)
        fail(r.function, "q is [" + text(r.q.heads) + ", " + text(r.q.tokens) + ", " + text(r.q.dim) +
                             "] for values of " + text(r.kv.v.dim) + " features, more than memory holds");
    check_extent(r.function, "q", bytes_of(r.q));
    check_extent(r.function, "k", bytes_of(r.kv, r.kv.k));
    check_extent(r.function, "v", bytes_of(r.kv, r.kv.v));
}

/// Lists are those of the call's heads, queries and keys, and what their keys bring along is there.
inline void check_lists(const Request& r) {
    if (r.lists.empty()) return;
    const char* f = r.function;
    if (static_cast<std::int64_t>(r.lists.size()) != r.kv.sequences)
        fail(f, text(static_cast<std::int64_t>(r.lists.size())) + " lists are given, needs those of " +
                    text(r.kv.sequences) + " sequences");
    if (r.two_passes) fail(f, "lists are given, needs a call in one pass");
    if (r.kv.differs_by_head()) fail(f, "lists are given, needs heads of K and V that hold the same tokens");
    for (std::int64_t s = 0; s < r.kv.sequences; ++s) {
        const KeyLists& lists = r.lists[static_cast<std::size_t>(s)];
        const KeyLists::Shape& shape = lists.shape();
        const std::int64_t queries = r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)];
        const auto check = [&](const char* what, std::int64_t got, std::int64_t expected) {
            if (got != expected)
                fail(f, std::string("lists have ") + what + " " + text(got) + ", needs " + text(expected));
        };
        check("queries", shape.queries, queries);
        check("keys", shape.keys, r.kv.length(s));
        check("lists", lists.lists(), shape.heads * shape.rows());
        if (r.q.heads % shape.heads != 0 || (r.kv.heads % shape.heads != 0 && shape.heads % r.kv.heads != 0))
            fail(f, "lists have " + text(shape.heads) + " heads, needs what divides the " + text(r.q.heads) +
                        " heads of q, and divides or is a multiple of the " + text(r.kv.heads) + " heads of k");
        for (const auto& [name, array] :
             {std::pair{"biases", &lists.bias}, {"key gains", &lists.key_gain}, {"value gains", &lists.value_gain}})
            if (!array->empty()) check(name, static_cast<std::int64_t>(array->size()), lists.size());
    }
}

inline void check_request(const Request& r) {
    const char* f = r.function;
    const KvView& kv = r.kv;
    if (r.q.dim < 1) fail(f, "q has " + text(r.q.dim) + " features, needs at least 1");
    if (kv.tied < 0 || kv.tied > kv.v.dim)
        fail(f, "kv.tied is " + text(kv.tied) + ", needs 0 to the " + text(kv.v.dim) + " features of v");
    if (kv.key_dim() != r.q.dim)
        fail(f, "k has " + text(kv.k.dim) + " features" +
                    (kv.tied > 0 ? " behind the " + text(kv.tied) + " of v" : std::string()) + ", q has " +
                    text(r.q.dim));
    if (kv.v.dim < 1) fail(f, "v has " + text(kv.v.dim) + " features, needs at least 1");
    if (r.q.heads < 1) fail(f, "q has " + text(r.q.heads) + " heads, needs at least 1");
    if (kv.heads < 1 || r.q.heads % kv.heads != 0)
        fail(f, "q has " + text(r.q.heads) + " heads, needs a multiple of the " + text(kv.heads) + " heads of k");
    if (r.q.tokens < 0) fail(f, "q has " + text(r.q.tokens) + " tokens, needs at least 0");
    if (r.q.token_stride < 0 || r.q.head_stride < 0)
        fail(f, "q has strides " + text(r.q.head_stride) + " and " + text(r.q.token_stride) + ", needs at least 0");
    if (!is_finite(r.scale)) fail(f, "scale is " + std::to_string(r.scale) + ", needs a finite number");
    check_cache(f, kv);
    check_batch(r);
    check_extents(r);
    check_offsets(r);
    check_lists(r);
    for (std::int64_t s = 0; kv.page_size > 0 && s < kv.sequences; ++s)
        check_pages(r, s, r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)]);
}

/// Further views are of the same heads and sequences. Each is a request of its own.
inline void check_more(const Request& r) {
    if (r.more.empty()) return;
    const char* f = r.function;
    if (r.more.size() >= most_views)
        fail(f, text(static_cast<std::int64_t>(r.more.size()) + 1) + " views are given, needs at most " +
                    text(most_views));
    if (!r.lists.empty() || r.two_passes) fail(f, "several views are given, needs a call in one pass, without lists");
    std::int64_t without = r.kv.positions ? 0 : 1;
    for (const KvView& kv : r.more) without += kv.positions ? 0 : 1;
    if (without > 1) fail(f, text(without) + " views have no positions, needs positions in all but one");
    for (const KvView& kv : r.more) {
        if (kv.heads != r.kv.heads || kv.v.dim != r.kv.v.dim || kv.sequences != r.kv.sequences)
            fail(f, "a view has " + text(kv.heads) + " heads, values of " + text(kv.v.dim) + " features and " +
                        text(kv.sequences) + " sequences, needs " + text(r.kv.heads) + ", " + text(r.kv.v.dim) +
                        " and " + text(r.kv.sequences) + " as the first");
        Request one = r;
        one.kv = kv;
        one.more = {};
        check_request(one);
    }
}

inline void check_local_weights(const Request& r) {
    if (r.local_weights && (!r.more.empty() || !r.lists.empty() || !r.sink.empty()))
        fail(r.function, "weights are local, needs a call of one view, without lists and sinks");
}

/// The kernels of a list of edits.
inline void resolve(const char* f, const char* list, const ScoreEdits& edits, Isa isa, std::vector<EditCall>& calls) {
    const auto at = [list](std::size_t i) { return list + (" has at element " + std::to_string(i)); };
    for (std::size_t i = 0; i < edits.size(); ++i) {
        if (!edits[i]) fail(f, at(i) + " an empty edit, needs one with a function");
        const TileFunction function = edits[i].function(isa);
        if (!function) fail(f, at(i) + " an edit without a kernel for " + name(isa));
        calls.push_back({function, edits[i].parameters()});
    }
}

}  // namespace checks

ATTENTA_INLINE void check(const Request& request) { checks::check_request(request); }

ATTENTA_INLINE void check_tensors(const char* f, Heads<const float> q, const KvView& kv, const Heads<float>* o,
                                  const float* lse, std::span<const NamedBytes> others) {
    using namespace checks;
    if (o) check_output(f, q.heads, q.tokens, kv.v.dim, *o);
    if (q.tokens == 0) return;
    const auto own = inputs(q, kv);
    const Bytes &k = own[1].bytes, &v = own[2].bytes;
    check_pointer(f, "q", q.data, sizeof(float), true);
    check_pointer(f, "k", kv.k.data, size_of(kv.k.dtype), k.size() > 0);
    check_pointer(f, "v", kv.v.data, size_of(kv.v.dtype), v.size() > 0);
    if (o) check_pointer(f, "o", o->data, sizeof(float), true);
    check_pointer(f, "lse", lse, sizeof(float), false);
    const Bytes out = o ? bytes_of(*o) : Bytes{},
                sums = lse ? Bytes::of(lse, q.heads * q.tokens * static_cast<std::int64_t>(sizeof(float))) : Bytes{};
    check_extent(f, "o", out);
    for (const std::span<const NamedBytes> list : {std::span<const NamedBytes>(own), others}) {
        check_apart(f, "o", out, list);
        check_apart(f, "lse", sums, list);
    }
    if (sums.meets(out)) fail(f, "lse overlaps o, needs memory of its own");
}

}  // namespace attention

ATTENTA_END
