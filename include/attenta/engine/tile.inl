#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/machine.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/backend.hpp>
#include <attenta/engine/bytes.hpp>
#include <attenta/engine/checks.hpp>
#include <attenta/engine/tile.hpp>
#include <attenta/engine/tile/scratch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace tile {

namespace checks {

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

/// Position of query 0. By default the last query stands where the newest key does.
inline std::int64_t first_position(const Request& r, std::int64_t sequence, std::int64_t queries) {
    if (!r.q_offsets.empty()) return r.q_offsets[static_cast<std::size_t>(sequence)];
    if (r.q_offset) return *r.q_offset;
    const std::int64_t keys = r.kv.length(sequence);
    const std::int32_t* const positions = r.kv.positions_of(sequence);
    return (positions && keys > 0 ? *std::max_element(positions, positions + keys) + std::int64_t{1} : keys) - queries;
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
        const KeyBlock keys = KeyBlock{0, end, kv.positions_of(sequence_)}.slice(begin, end - begin);
        const MaskSet masks{r_.masks.data(), static_cast<std::int64_t>(r_.masks.size())};
        Task t;
        t.q_offset = offset_;
        const std::int64_t group = r_.q.heads / kv.heads;
        for (std::int64_t h = 0; h < kv.heads; ++h)
            if (masks.classify(t.query_row(h, 0, group), t.query_row(h, queries_ * group - 1, group), keys) !=
                Cover::none)
                return true;
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
    if (!is_dtype(s.dtype)) fail(f, side + " has no Dtype, needs f32, bf16 or f16");
    if (s.dim > most_features)
        fail(f, side + " has " + text(s.dim) + " features, needs at most " + text(most_features));
    for (const auto& [what, stride] :
         {std::pair{"token", s.token_stride}, {"head", s.head_stride}, {"page", s.page_stride}})
        if (stride < 0) fail(f, side + " has " + what + " stride " + text(stride) + ", needs at least 0");
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

inline void check_request(const Request& r) {
    const char* f = r.function;
    const KvView& kv = r.kv;
    if (r.q.dim < 1) fail(f, "q has " + text(r.q.dim) + " features, needs at least 1");
    if (kv.k.dim != r.q.dim) fail(f, "k has " + text(kv.k.dim) + " features, q has " + text(r.q.dim));
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
    for (std::int64_t s = 0; kv.page_size > 0 && s < kv.sequences; ++s)
        check_pages(r, s, r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)]);
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

/// Measured. Intel's processors foresee many short streams of whole rows best. Zen 5 foresees what a page of memory is
/// read for in one place: neighbouring tokens of halves would share a page in a step.
inline MemoryOrder memory_order() {
    if (is_intel()) return {8, 8, true, false};
    return prefers_prefetch_to_l1() ? MemoryOrder{8, 8, false, true} : MemoryOrder{};
}

ATTENTA_INLINE Plan::Plan(const Request& r, Context& context)
    : backend_(&active_backend()), context_(&context), masks_(r.masks), edits_(r.edits), weight_edits_(r.weight_edits) {
    checks::check_request(r);
    checks::resolve(r.function, "edits", edits_, backend_->isa, calls_);
    checks::resolve(r.function, "weight_edits", weight_edits_, backend_->isa, calls_);
    job_.q = r.q;
    job_.kv = r.kv;
    job_.group = r.q.heads / r.kv.heads;
    job_.scale = r.scale;
    job_.mask = {masks_.data(), static_cast<std::int64_t>(masks_.size())};
    job_.edits = calls_.data();
    job_.edit_count = static_cast<std::int64_t>(edits_.size());
    job_.weight_edits = calls_.data() + edits_.size();
    job_.weight_edit_count = static_cast<std::int64_t>(weight_edits_.size());
    job_.sink = r.sink.empty() ? nullptr : r.sink.data();
    job_.values = r.values;
    job_.order = memory_order();

    std::int64_t q_begin = 0;
    for (std::int64_t s = 0; s < r.kv.sequences; ++s) {
        const std::int64_t queries = r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)];
        const std::int64_t keys = r.kv.length(s);
        Task t;
        t.sequence = s;
        t.q_begin = q_begin;
        t.q_offset = checks::first_position(r, s, queries);
        t.head_end = r.kv.heads;
        t.row_end = queries * job_.group;
        t.key_end = keys;
        schedule(t, r.two_passes);
        q_begin += r.q_step > 0 ? r.q_step : queries;
    }
    // The heaviest first, so that no thread is left with one at the end.
    const auto cost = [&](const Task& t) {
        const Interval seen = visible_keys(t);
        return (t.row_end - t.row_begin) * (t.head_end - t.head_begin) * (seen.end - seen.begin);
    };
    if (tasks_.size() > 1 && context.executor().concurrency() > 1)
        std::stable_sort(tasks_.begin(), tasks_.end(), [&](const Task& a, const Task& b) { return cost(a) > cost(b); });
    reserve_scratch();
}

/// Keys that some row of the task may see.
ATTENTA_INLINE Interval Plan::visible_keys(const Task& t) const {
    const Interval all{t.key_begin, t.key_end};
    if (!job_.mask || job_.kv.positions) return all;
    Interval seen;
    for (std::int64_t h = t.head_begin; h < t.head_end; ++h)
        seen = hull(seen,
                    job_.mask.hull(t.query_row(h, t.row_begin, job_.group), t.query_row(h, t.row_end - 1, job_.group)));
    seen = intersect(all, seen);
    return seen.empty() ? Interval{t.key_begin, t.key_begin} : seen;
}

/// Tasks of one sequence, by its sizes alone.
ATTENTA_INLINE void Plan::schedule(Task t, bool two_passes) {
    if (t.row_end == 0) return;
    const std::int64_t rows = t.row_end, heads = t.head_end, dim = job_.kv.k.dim + job_.kv.v.dim;
    if (two_passes || rows > few_rows) {
        const std::int64_t step = two_passes ? rows : rows_per_task(job_.kv.k.dim, job_.kv.v.dim);
        for (t.head_begin = 0; t.head_begin < heads; ++t.head_begin)
            for (t.row_begin = 0; t.row_begin < rows; t.row_begin += step) {
                t.head_end = t.head_begin + 1;
                t.row_end = std::min(t.row_begin + step, rows);
                tasks_.push_back(t);
            }
    } else {
        // As many heads as keep queries and outputs in or near L1, or in L2 where memory wants neighbouring heads to be
        // read together; parts of at least a quarter of a megabyte.
        const std::int64_t bytes = come_from_memory(job_.kv, t.sequence) ? 512 << 10 : 64 << 10;
        const std::int64_t per_task = std::clamp<std::int64_t>(bytes / (4 * padded_rows(rows) * dim), 1, heads);
        split(t, per_task, std::max<std::int64_t>(256, round_up((256 << 10) / (4 * heads * dim), key_block)));
    }
}

/// Cuts the keys of a sequence with few rows into at most 32 parts of whole blocks.
ATTENTA_INLINE void Plan::split(const Task& sequence, std::int64_t heads_per_task, std::int64_t least_keys) {
    const Interval seen = visible_keys(sequence);
    const std::int64_t begin = seen.begin / key_block * key_block, rows = sequence.row_end;
    const std::int64_t length = std::max(least_keys, round_up((seen.end - begin + 31) / 32, key_block));
    const std::int64_t parts = std::max<std::int64_t>(1, tile::ceil_div(seen.end - begin, length));
    for (std::int64_t p = 0; p < parts; ++p)
        for (std::int64_t h = 0; h < sequence.head_end; h += heads_per_task) {
            Task t = sequence;
            t.few = true;
            t.head_begin = h;
            t.head_end = std::min(h + heads_per_task, sequence.head_end);
            t.key_begin = std::max(seen.begin, begin + p * length);
            t.key_end = std::min(seen.end, begin + (p + 1) * length);
            t.sink = p == 0;
            if (parts > 1) t.part = part_rows_ + (p * sequence.head_end + h) * rows;
            tasks_.push_back(t);
        }
    if (parts == 1) return;
    for (std::int64_t h = 0; h < sequence.head_end; ++h)
        for (std::int64_t r = 0; r < rows; ++r) {
            const QueryRow row = sequence.query_row(h, r, job_.group);
            merges_.push_back(
                {row.head, sequence.q_begin + row.index, part_rows_ + h * rows + r, sequence.head_end * rows, parts});
        }
    part_rows_ += parts * sequence.head_end * rows;
}

ATTENTA_INLINE void Plan::reserve_scratch() {
    const std::int64_t dim = job_.kv.k.dim, dim_v = job_.kv.v.dim;
    std::int64_t slot = 0;
    for (const Task& t : tasks_) {
        Arena c(nullptr);
        const std::int64_t rows = t.row_end - t.row_begin;
        if (t.few)
            RowsScratch(c, dim, dim_v, t.head_end - t.head_begin, padded_rows(rows));
        else
            TileScratch(c, dim, dim_v, std::min(rows, rows_per_task(dim, dim_v)));
        slot = std::max(slot, c.used());
    }
    slot_bytes_ = static_cast<std::size_t>(round_up(slot, 64));
    const auto slots = static_cast<std::size_t>(context_->executor().concurrency());
    scratch_bytes_ = slots * slot_bytes_ + static_cast<std::size_t>(part_rows_) * sizeof(RowStatistics) +
                     static_cast<std::size_t>(part_rows_ * dim_v) * sizeof(float);
    if (scratch_bytes_ > 0) context_->workspace().reserve(scratch_bytes_);
}

ATTENTA_INLINE void Plan::run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse,
                              Statistics statistics) const {
    std::byte* scratch = context_->workspace().data();
    Executor& executor = context_->executor();
    Job job = job_;
    job.q = q;
    job.kv = kv;
    job.o = o;
    job.lse = lse;
    job.statistics = statistics.found;
    job.known = statistics.known;
    job.part_statistics =
        reinterpret_cast<RowStatistics*>(scratch + static_cast<std::size_t>(executor.concurrency()) * slot_bytes_);
    job.part_o = reinterpret_cast<float*>(job.part_statistics + part_rows_);
    job.phases = context_->phases();

    run_tasks(executor, static_cast<std::int64_t>(tasks_.size()), [&](std::int64_t i, int slot) {
        const Task& t = tasks_[static_cast<std::size_t>(i)];
        (t.few ? backend_->rows_task : backend_->tile_task)(job, t,
                                                            scratch + static_cast<std::size_t>(slot) * slot_bytes_);
    });
    constexpr std::int64_t chunk = 16;
    const auto merges = static_cast<std::int64_t>(merges_.size());
    run_tasks(executor, ceil_div(merges, chunk), [&](std::int64_t i, int) {
        Stopwatch watch(job.phases);
        for (std::int64_t n = i * chunk; n < std::min(merges, (i + 1) * chunk); ++n) {
            const Merge& m = merges_[static_cast<std::size_t>(n)];
            const RowStatistics* first = job.part_statistics + m.first;
            backend_->merge_row(job.part_o + m.first * kv.v.dim, m.step * kv.v.dim, &first->max, &first->sum,
                                2 * m.step, m.parts, job.values ? kv.v.dim : 0,
                                job.values ? o.row(m.head, m.token) : nullptr,
                                lse ? lse + m.head * q.tokens + m.token : nullptr);
        }
        watch.lap(Phase::merge);
    });
}

}  // namespace tile

ATTENTA_END
