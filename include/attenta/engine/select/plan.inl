#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/select/kernels.hpp>
#include <attenta/engine/select/request.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

ATTENTA_BEGIN

namespace select {

/// A call on all its queries, a range after the other.
class Selection {
public:
    Selection(const Request& request, KeyLists& lists, Context& context)
        : r_(request), lists_(&lists), context_(&context), isa_(active_isa()) {
        job_.request = &r_;
        const std::int64_t key_heads = r_.key_heads(), heads = r_.q.heads / key_heads;
        job_.rows = r_.row ? heads : r_.heads / key_heads;
        units_ = r_.units.count;
        const std::int64_t keys = r_.pool > 1 ? units_ : r_.key_count();
        job_.stride = round_up(keys, key_block) + key_block;  // tiles are stored whole
        const std::int64_t row_bytes = key_heads * job_.rows * job_.stride * static_cast<std::int64_t>(sizeof(float));
        range_ = std::clamp<std::int64_t>(score_bytes / row_bytes, 1, r_.q.tokens);
        queries_of_task_ = std::clamp<std::int64_t>(task_rows / heads, 1, range_);
        reserve();
    }

    void run() {
        lists_->reset({r_.heads, r_.q.tokens, r_.cache_keys, 1, r_.others ? 1 : r_.unit_keys});
        for (job_.query_begin = 0; job_.query_begin < r_.q.tokens; job_.query_begin += range_) {
            job_.query_end = std::min(job_.query_begin + range_, r_.q.tokens);
            score();
            choose();
        }
        // Lists stand head after head, ranges query after query.
        for (std::int64_t list = 0; list < r_.heads * r_.q.tokens; ++list) give(list);
    }

private:
    void reserve() {
        Arena slot(nullptr);
        ScoreScratch(slot, r_.q.dim, queries_of_task_ * (r_.q.heads / r_.key_heads()));
        Arena row(nullptr);
        RowScratch(row, units_);
        slot_bytes_ = round_up(std::max(slot.used(), row.used()), 64);
        Arena shared(nullptr);
        take(shared);
        const std::int64_t slots = context_->executor().concurrency();
        std::byte* const memory =
            context_->workspace().reserve(static_cast<std::size_t>(shared.used() + slots * slot_bytes_));
        Arena real(memory);
        take(real);
        slots_ = memory + real.used();
    }

    void take(Arena& c) {
        job_.scores = c.take<float>(range_ * r_.key_heads() * job_.rows * job_.stride);
        most_chosen_ = std::min(r_.top, units_);
        job_.chosen = c.take<std::int32_t>(r_.heads * r_.q.tokens * most_chosen_);
        job_.count = c.take<std::int32_t>(r_.heads * r_.q.tokens);
    }

    struct RowScratch {
        float* units;
        std::int32_t* candidates;
        RowScratch(Arena& c, std::int64_t n) {
            units = c.take<float>(n);
            candidates = c.take<std::int32_t>(2 * n);
        }
    };

    /// Scores of the range's queries. Few queries meet the keys in parts.
    void score() {
        const std::int64_t queries = job_.query_end - job_.query_begin, keys = r_.key_count();
        const std::int64_t ranges = ceil_div(queries, queries_of_task_);
        const std::int64_t length = queries * (r_.q.heads / r_.key_heads()) <= most_dot_rows
                                        ? std::max<std::int64_t>(round_up(task_keys, r_.pool), r_.pool)
                                        : std::max<std::int64_t>(keys, 1);
        const std::int64_t parts = ceil_div(keys, length);
        const ScoreFunction function = score_keys(isa_);
        run_tasks(context_->executor(), r_.key_heads() * ranges * parts, [&](std::int64_t i, int slot) {
            ScoreTask t;
            t.key_begin = i % parts * length;
            t.key_end = std::min(t.key_begin + length, keys);
            t.query_begin = job_.query_begin + i / parts % ranges * queries_of_task_;
            t.query_end = std::min(t.query_begin + queries_of_task_, job_.query_end);
            t.key_head = i / parts / ranges;
            function(job_, t, slots_ + slot * slot_bytes_);
        });
    }

    /// The best units of each query of the range.
    void choose() {
        const std::int64_t queries = job_.query_end - job_.query_begin;
        const TopFunction top = top_of_row(isa_);
        run_tasks(context_->executor(), r_.heads * queries, [&](std::int64_t i, int slot) {
            Arena arena(slots_ + slot * slot_bytes_);
            const RowScratch x(arena, units_);
            const std::int64_t list_head = i / queries, query = job_.query_begin + i % queries;
            const std::int64_t position = r_.q_offset + query, of_key_head = r_.heads / r_.key_heads();
            const float* scores = job_.row(list_head / of_key_head, query);
            const std::int64_t end = r_.units.end(position), begin = std::min(r_.units.begin, end);
            if (r_.row) {
                const std::int64_t heads = job_.rows / of_key_head;
                scores += list_head % of_key_head * heads * job_.stride;
                r_.row(r_.row_parameters, {scores, heads, job_.stride, r_.visible_keys.end(position), list_head, query,
                                           position, x.units, end});
                scores = x.units;
            } else {
                scores += list_head % of_key_head * job_.stride;
            }
            const std::int64_t list = list_head * r_.q.tokens + query;
            std::int32_t* const to = job_.chosen + list * most_chosen_;
            job_.count[list] = static_cast<std::int32_t>(choose_row(scores, begin, end, to, x.candidates, top));
            if (r_.scores) {
                float* const kept = r_.scores + list * units_;
                std::fill_n(kept, units_, 0.f);
                std::copy(scores + begin, scores + end, kept + begin);
            }
        });
    }

    /// Forced ones first, then the best of the others.
    std::int64_t choose_row(const float* scores, std::int64_t begin, std::int64_t end, std::int32_t* to,
                            std::int32_t* scratch, TopFunction top) const {
        const std::int64_t first = std::min(r_.first_forced, end - begin),
                           last = std::min(r_.last_forced, end - begin - first);
        std::int64_t n = 0;
        for (std::int64_t u = begin; u < begin + first; ++u) to[n++] = static_cast<std::int32_t>(u);
        const std::int64_t from = begin + first, count = end - last - from;
        const std::int64_t room = most_chosen_ - first - last;
        if (room >= count) {  // all of them, whatever their scores are: infinities and NaN, too
            for (std::int64_t u = from; u < from + count; ++u) to[n++] = static_cast<std::int32_t>(u);
        } else {
            const std::int64_t found = top(scores + from, count, room, to + n, scratch);
            for (std::int64_t i = 0; i < found; ++i) to[n++] += static_cast<std::int32_t>(from);
        }
        for (std::int64_t u = end - last; u < end; ++u) to[n++] = static_cast<std::int32_t>(u);
        return n;
    }

    void give(std::int64_t list) {
        const std::int64_t position = r_.q_offset + list % r_.q.tokens, size = r_.unit_keys;
        const std::int64_t own = std::min(position + 1, r_.cache_keys);
        if (r_.others) lists_->add(0, std::min(r_.units.begin * size, own));
        const std::int32_t* const units = job_.chosen + list * most_chosen_;
        for (std::int32_t n = 0; n < job_.count[list]; ++n) {
            const std::int64_t start = units[n] * size;
            lists_->add(start, std::min(size, r_.cache_keys - start));
        }
        if (r_.others) {
            const std::int64_t start = std::max(r_.units.end(position), r_.units.begin) * size;
            if (start < own) lists_->add(start, own - start);
        }
        lists_->end_list();
    }

    const Request& r_;
    KeyLists* lists_;
    Context* context_;
    Isa isa_;
    Job job_;
    std::int64_t units_ = 0, range_ = 1, queries_of_task_ = 1, most_chosen_ = 0, slot_bytes_ = 0;
    std::byte* slots_ = nullptr;
};

ATTENTA_INLINE void run(const Request& request, KeyLists& lists, Context& context) {
    if (request.q.tokens == 0) return lists.reset({request.heads, 0, request.cache_keys, 1, request.unit_keys});
    Selection(request, lists, context).run();
}

ATTENTA_INLINE void check(const Request& r) {
    using checks::text;
    const char* f = r.function;
    const std::int64_t key_heads = r.key_heads();
    if (key_heads < 1 || r.q.heads < 1 || r.q.heads % key_heads != 0)
        fail(f, "the queries of the selection have " + text(r.q.heads) + " heads, needs a multiple of the " +
                    text(key_heads) + " of its keys");
    if (r.key_dim() != r.q.dim || r.q.dim < 1)
        fail(f, "the keys of the selection have " + text(r.key_dim()) + " features, its queries " + text(r.q.dim));
    if (r.heads < 1 || r.q.heads % r.heads != 0 || r.heads % key_heads != 0)
        fail(f, "the selection has " + text(r.heads) + " heads of lists, needs a multiple of " + text(key_heads) +
                    " that divides " + text(r.q.heads));
    if (r.pool > 1 && r.heads != r.q.heads)
        fail(f, "pooled scores are those of one head, needs as many lists as heads");
    if (r.top < 1) fail(f, "the selection keeps " + text(r.top) + " units, needs at least 1");
}

}  // namespace select

ATTENTA_END
