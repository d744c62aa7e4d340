// The schedule of calls whose queries read the keys on lists.
//
//   a list for many rows    tiles of its rows × packed blocks of its keys
//   a list for few rows     the few-query loop on its rows, long lists of few queries in parts
//   lists of heads of one   the same on the union of the group's lists, where a key knows which heads read it: rows of K
//   group                   and V are read once
//   lists of blocks for     the other way round: for a block of keys the queries that read it, as tiles; outputs and
//   one query each          statistics go from block to block, in a chain of tasks
#pragma once

#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/lists/heads_of_keys.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/engine/tile/kernels.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace attention {

/// Whether no list leaves out a key that the masks show: then it is an attention without lists, to the bit.
ATTENTA_INLINE bool Plan::is_everything(const Task& sequence, const KeyLists& lists) const {
    if (job_.kv.positions || !lists.bias.empty() || !lists.key_gain.empty() || !lists.value_gain.empty()) return false;
    const KeyLists::Shape& shape = lists.shape();
    const MaskSet masks{masks_.data(), static_cast<std::int64_t>(masks_.size())};
    const std::int64_t heads = job_.q.heads / shape.heads, rows = shape.rows();
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        const std::int64_t row = n % rows, first = shape.query(row, 0),
                           last = shape.query(row, shape.queries_of(row) - 1);
        const std::span<const KeyRun> runs = lists.runs(n);
        const Interval has =
            runs.empty() ? Interval{} : Interval{runs[0].start, std::int64_t{runs[0].start} + runs[0].count};
        for (std::int64_t h = n / rows * heads; h < (n / rows + 1) * heads; ++h) {
            const QueryRow a{static_cast<int>(h), first, sequence.q_offset + first, sequence.sequence},
                b{static_cast<int>(h), last, sequence.q_offset + last, sequence.sequence};
            const Interval seen = intersect(masks.hull(a, b), {0, shape.keys});
            if (!seen.empty() && (seen.begin < has.begin || seen.end > has.end)) return false;
        }
    }
    return true;
}

ATTENTA_INLINE void Plan::schedule_lists(const Task& sequence, const KeyLists& lists) {
    const KeyLists::Shape& shape = lists.shape();
    const std::int64_t heads = job_.q.heads / shape.heads;  // query heads that share a list
    const std::int64_t rows = std::min(heads, sequence.group) * shape.queries_of(0);
    const bool plain = lists.bias.empty() && lists.key_gain.empty() && lists.value_gain.empty();
    if (plain && rows <= few_rows && shape.unit >= least_chain_block && shape.queries >= least_chain_queries &&
        shape.query_step == 0)
        return schedule_chains(sequence, lists);
    counted_[static_cast<std::size_t>(sequence.sequence)] = 1;
    if (plain && heads < sequence.group && sequence.group <= HeadsOfKeys::most_heads &&
        sequence.group * shape.queries_of(0) <= most_united_rows && shape.query_step == 0)
        return schedule_united(sequence, lists);
    ListMemory* const memory = shape.query_step > 0 ? &next_list_memory() : nullptr;
    for (std::int64_t row = 0; memory && row < shape.rows(); ++row)
        for (std::int64_t i = 0; i < shape.queries_of(row); ++i)
            memory->queries.push_back(static_cast<std::int32_t>(shape.query(row, i)));
    std::int64_t queries_before = 0;
    const bool may_split = !in_order_ && lists.lists() <= most_split_lists;
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        Task t = sequence;
        const std::int64_t first_head = n / shape.rows() * heads, row = n % shape.rows();
        t.head_begin = first_head / t.group;
        t.head_end = t.head_begin + std::max<std::int64_t>(1, heads / t.group);
        t.heads_per_query = std::min(heads, t.group);
        t.first_of_group = first_head % t.group;
        if (memory) {
            t.queries = memory->queries.data() + queries_before;
            queries_before = row + 1 < shape.rows() ? queries_before + shape.queries_of(row) : 0;
        } else {
            t.row_begin = row * shape.query_block * t.heads_per_query;
        }
        t.row_end = t.row_begin + shape.queries_of(row) * t.heads_per_query;
        t.listed = {lists.runs(n).data()};
        t.key_begin = listed_keys_ + lists.first_key(n);
        t.key_end = t.key_begin + lists.keys_of(n);
        if (t.row_end - t.row_begin <= few_rows)
            schedule_few({&t, 1}, may_split);
        else
            schedule(t, false);
    }
    take_entries(lists);
    listed_keys_ += lists.size();
}

ATTENTA_INLINE Plan::ListMemory& Plan::next_list_memory() {
    if (list_memories_ == list_memory_.size()) list_memory_.emplace_back();
    ListMemory& memory = list_memory_[list_memories_++];
    memory.blocks.clear();
    memory.queries.clear();
    return memory;
}

/// What the keys of a sequence's lists bring along.
ATTENTA_INLINE void Plan::take_entries(const KeyLists& lists) {
    const auto take = [&](const std::vector<float>& from, std::vector<float>& all, float none) {
        if (from.empty() && all.empty()) return;
        all.resize(static_cast<std::size_t>(listed_keys_), none);
        all.insert(all.end(), from.begin(), from.end());
        all.resize(static_cast<std::size_t>(listed_keys_ + lists.size()), none);
    };
    take(lists.bias, bias_, 0.f);
    take(lists.key_gain, key_gain_, 1.f);
    take(lists.value_gain, value_gain_, 1.f);
}

/// A list for the query heads of each K/V head: the union of theirs.
ATTENTA_INLINE void Plan::schedule_united(const Task& sequence, const KeyLists& lists) {
    const KeyLists::Shape& shape = lists.shape();
    const std::int64_t group = sequence.group, own = job_.q.heads / shape.heads, per_group = group / own;
    std::array<std::span<const KeyRun>, HeadsOfKeys::most_heads> of_heads;
    const auto runs = std::span(of_heads).first(static_cast<std::size_t>(per_group));
    KeyLists& united = next_list_memory().united;
    united.reset({job_.kv.heads, shape.queries, shape.keys, shape.query_block, 1});
    heads_of_keys_.resize(static_cast<std::size_t>(listed_keys_), HeadsOfKeys::all);
    for (std::int64_t h = 0; h < job_.kv.heads; ++h)
        for (std::int64_t row = 0; row < shape.rows(); ++row) {
            for (std::int64_t n = 0; n < per_group; ++n)
                runs[static_cast<std::size_t>(n)] = lists.runs((h * per_group + n) * shape.rows() + row);
            // Piece by piece between the ends of runs: who reads it is the same all over.
            for (std::int64_t at = 0;;) {
                std::int64_t next = shape.keys;
                std::uint16_t readers = 0;
                bool some = false;
                for (std::size_t n = 0; n < runs.size(); ++n) {
                    while (!runs[n].empty() && runs[n][0].start + runs[n][0].count <= at) runs[n] = runs[n].subspan(1);
                    if (runs[n].empty()) continue;
                    some = true;
                    const std::int64_t start = runs[n][0].start, end = start + runs[n][0].count;
                    if (start <= at) {
                        const std::uint32_t bits = ((1u << own) - 1) << (static_cast<std::int64_t>(n) * own);
                        readers = static_cast<std::uint16_t>(readers | bits);
                    }
                    next = std::min(next, start <= at ? end : start);
                }
                if (!some) break;
                if (readers != 0) {
                    united.add(at, next - at);
                    heads_of_keys_.insert(heads_of_keys_.end(), static_cast<std::size_t>(next - at), readers);
                }
                at = next;
            }
            united.end_list();
        }
    schedule_lists(sequence, united);
}

/// A chain for each K/V head and range of queries: its tasks are the blocks of keys, in order.
ATTENTA_INLINE void Plan::schedule_chains(const Task& sequence, const KeyLists& lists) {
    const KeyLists::Shape& shape = lists.shape();
    const std::int64_t heads = job_.q.heads / shape.heads, blocks = ceil_div(shape.keys, shape.unit);
    ListMemory& memory = next_list_memory();
    for (std::int64_t b = 0; b < blocks; ++b)
        memory.blocks.push_back({static_cast<std::int32_t>(b * shape.unit),
                                 static_cast<std::int32_t>(std::min(shape.unit, shape.keys - b * shape.unit))});
    std::int64_t pairs = 0;  // of a query and a block
    const auto for_blocks = [&](std::int64_t n, auto&& f) {
        for (const KeyRun& run : lists.runs(n))
            for (std::int64_t b = run.start / shape.unit; b * shape.unit < std::int64_t{run.start} + run.count; ++b)
                f(b);
    };
    const auto queries_of = [&](std::int64_t n) {
        const std::int64_t row = n % shape.rows(), first = shape.query(row, 0);
        return Interval{first, first + shape.queries_of(row)};
    };
    for (std::int64_t n = 0; n < lists.lists(); ++n)
        for_blocks(n, [&](std::int64_t) { pairs += queries_of(n).end - queries_of(n).begin; });
    memory.queries.resize(static_cast<std::size_t>(pairs));
    std::int32_t* to = memory.queries.data();

    const std::int64_t range = std::max<std::int64_t>(1, chain_queries / shape.query_block);  // lists of a chain
    std::vector<std::int64_t> place(static_cast<std::size_t>(blocks) + 1);
    for (std::int64_t x = 0; x < shape.heads; ++x)
        for (std::int64_t row = 0; row < shape.rows(); row += range) {
            const std::int64_t first = x * shape.rows() + row, last = first + std::min(range, shape.rows() - row);
            std::fill(place.begin(), place.end(), 0);
            for (std::int64_t n = first; n < last; ++n)
                for_blocks(n, [&](std::int64_t b) {
                    place[static_cast<std::size_t>(b) + 1] += queries_of(n).end - queries_of(n).begin;
                });
            for (std::size_t b = 0; b < static_cast<std::size_t>(blocks); ++b) place[b + 1] += place[b];
            const std::vector<std::int64_t> begin = place;
            for (std::int64_t n = first; n < last; ++n)
                for_blocks(n, [&](std::int64_t b) {
                    const Interval q = queries_of(n);
                    for (std::int64_t i = q.begin; i < q.end; ++i)
                        to[place[static_cast<std::size_t>(b)]++] = static_cast<std::int32_t>(i);
                });
            Task all = sequence;
            all.chain = true;
            all.heads_per_query = std::min(heads, all.group);
            all.first_of_group = x * heads % all.group;
            all.row_begin = queries_of(first).begin * all.heads_per_query;
            all.row_end = queries_of(last - 1).end * all.heads_per_query;
            const std::int64_t head = x * heads / all.group;
            for (all.head_begin = head; all.head_begin < head + std::max<std::int64_t>(1, heads / all.group);
                 ++all.head_begin) {
                all.head_end = all.head_begin + 1;
                const std::size_t first_task = chain_tasks_.size();
                for (std::size_t b = 0; b < static_cast<std::size_t>(blocks); ++b) {
                    if (begin[b + 1] == begin[b]) continue;
                    Task t = all;
                    t.queries = to + begin[b];
                    t.row_begin = 0;
                    t.row_end = (begin[b + 1] - begin[b]) * t.heads_per_query;
                    t.listed = {memory.blocks.data() + b};
                    t.key_begin = 0;
                    t.key_end = memory.blocks[b].count;
                    chain_tasks_.push_back(t);
                }
                chains_.push_back({first_task, chain_tasks_.size(), all});
            }
            to += begin.back();
        }
}

/// What all lists together bring along.
ATTENTA_INLINE void Plan::finish_lists() {
    if (!heads_of_keys_.empty()) {
        heads_of_keys_.resize(static_cast<std::size_t>(listed_keys_), HeadsOfKeys::all);
        masks_.push_back(HeadsOfKeys{heads_of_keys_.data(), job_.q.heads / job_.kv.heads, counted_.data()});
    }
    if (!value_gain_.empty()) job_.value_gain = value_gain_.data();
    job_.counted = counted_.data();
    if (bias_.empty() && key_gain_.empty()) return;
    // They come first: other edits see finished scores.
    edits_.insert(edits_.begin(), edit(edits::Listed{key_gain_.empty() ? nullptr : key_gain_.data(),
                                                     bias_.empty() ? nullptr : bias_.data(), counted_.data()}));
}

ATTENTA_INLINE void Plan::run_chain(const Job* jobs, const Chain& chain, std::byte* scratch) const {
    const Job& job = jobs[0];
    const Task& all = chain.rows;
    const std::int64_t dim_v = job.values ? job.kv.v.dim : 0;
    const auto for_rows = [&](auto&& f) {
        for (std::int64_t r = all.row_begin; r < all.row_end; ++r) {
            const QueryRow row = all.query_row(all.head_begin, r);
            f(row, all.q_begin + row.index, row.head * job.q.tokens + all.q_begin + row.index);
        }
    };
    for_rows([&](const QueryRow& row, std::int64_t token, std::int64_t at) {
        const float sink = job.sink ? job.sink[row.head] : minus_infinity;
        job.statistics[at] = {sink, sink == minus_infinity ? 0.f : 1.f};
        std::fill_n(job.o.row(row.head, token), dim_v, 0.f);
    });
    const TaskFunction tiles = tile_task(isa_);
    for (std::size_t i = chain.begin; i < chain.end; ++i) tiles(jobs[chain_tasks_[i].view], chain_tasks_[i], scratch);
    if (job.lse)
        for_rows([&](const QueryRow&, std::int64_t, std::int64_t at) { job.lse[at] = job.statistics[at].lse(); });
}

}  // namespace attention

ATTENTA_END
