// The few-query loop of one instruction set: few query rows per K/V head (decode, speculation) against unpacked K and V, each
// row of which is read once. See engine/attention/request.hpp.
//
//     for blocks of keys:
//       for the heads in flight:                        (one, or several that are interleaved)
//         S = Q Kᵀ;  edits;  mask;  m, P = exp(S − m);  O = O · exp(m_old − m) + P V
//
// A task takes its heads through blocks of tokens: one head after the other, or interleaved where their rows are
// neighbours in token-major memory. Queries, scores and outputs stay in or near L1. Scores of a head stand token by token,
// S[token][row], so that statistics of all rows are computed in the lanes of vectors. Up to 8 rows take dot products,
// `lanes` of them at a time; more rows fill vectors themselves and meet the channels of several keys one by one, without
// any horizontal step. Nothing depends on the memory's layout, so results do not either.
//
// shape.hpp        numbers of rows, tokens and lanes
// reading.hpp      in which order rows are read, and what is prefetched: chosen once
// task.hpp         a task's data; how its rows begin and end
// row_table.hpp    where rows lie, in the order of reading
// edit.hpp         edits and masks
// row_weights.hpp  the update of the online softmax
// scores.hpp, values.hpp    products with rows in streams; row_streams.hpp: what they prefetch
// whole_rows.hpp   products with rows that are read one after the other
#pragma once

#include <attenta/engine/few/edit.hpp>
#include <attenta/engine/few/row_table.hpp>
#include <attenta/engine/few/row_weights.hpp>
#include <attenta/engine/few/scores.hpp>
#include <attenta/engine/few/task.hpp>
#include <attenta/engine/few/values.hpp>
#include <attenta/engine/few/whole_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace attention {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
class FewLoop {
    using Shape = FewShape<Arch, Rows>;
    using Heads = std::span<const HeadBlock>;

public:
    FewLoop(const Job& job, const Task& task, std::byte* memory)
        : x_(job, task, memory), whole_rows_(job, x_.reading, x_.scratch.reading_order), watch_(job.phases) {}

    void run() {
        if (pass()) return;
        // A NaN or infinity met a weight of zero, or is a row's true result: once more, skipping zero weights.
        nan_safe_ = true;
        pass();
    }

private:
    /// All keys. Returns whether every output is finite.
    bool pass() {
        const Task& task = x_.task;
        const std::int64_t at_once = x_.reading.heads_in_flight();
        KeyCursor keys(x_.job.kv, task.sequence, task.head_begin, task.listed);
        begin_rows(x_);
        for (std::int64_t j = task.key_begin; j < task.key_end; j += run_.count) {
            const LocatedRun located = locate_rows(x_, keys, j, run_length(task.key_end - j));
            run_ = located.keys;
            streams_ = located.streams;
            watch_.lap(Phase::pack);
            for (std::int64_t h = task.head_begin; h < task.head_end; h += at_once)
                head_pass(h, std::min(h + at_once, task.head_end));
        }
        const bool finite = finish_rows(x_);
        watch_.lap(Phase::merge);
        return finite;
    }

    /// Keys whose scores are computed at once: a block. Whole rows of heads that are not interleaved are read in long runs
    /// of blocks; their values in blocks, where the order counts.
    std::int64_t run_length(std::int64_t left) const {
        constexpr std::int64_t run = FewScratch::run_blocks * rows_block;
        if (x_.reading.order == RowOrder::whole_rows && !x_.reading.interleaved && !nan_safe_ && left >= run)
            return run;
        return std::min(left, rows_block);
    }

    /// The run's keys for heads [begin, end): all scores, then weights and values of one block after the other.
    void head_pass(std::int64_t begin, std::int64_t end) {
        HeadBlock in_flight[FewScratch::most_heads];
        std::size_t n = 0;
        bool any = false;
        for (std::int64_t b = 0; b < run_.count; b += rows_block)
            for (std::int64_t h = begin; h < end; ++h, ++n) {
                const KeyBlock keys = run_.slice(b, std::min(rows_block, run_.count - b));
                in_flight[n] = x_.head_block(h, h - begin, keys, static_cast<std::int64_t>(n));
                any = any || in_flight[n].cover != Cover::none;
            }
        if (!any) return;
        scores({in_flight, n});
        const auto heads = static_cast<std::size_t>(end - begin);
        for (std::size_t i = 0; i < n; i += heads) block_pass({in_flight + i, heads});
    }

    /// One block: weights and values.
    void block_pass(Heads heads) {
        if (std::all_of(heads.begin(), heads.end(), [](const HeadBlock& h) { return h.cover == Cover::none; })) return;
        simd::PrefetchQueue queue = first_values(heads[0]);
        for (const HeadBlock& h : heads) {
            if (x_.job.edit_count > 0 || h.cover != Cover::all) edit(x_, h, streams_);
            if (x_.job.scores) keep_scores(x_, h, streams_);
            if (x_.reading.order == RowOrder::streamed) queue = first_values(h);
            update_softmax(x_, h, queue);
            if (x_.job.has_value_gain(x_.task.sequence)) scale_weights(x_, h, streams_);
        }
        watch_.lap(Phase::softmax);
        if (!x_.job.values) return;
        for (const HeadBlock& h : heads) correct_outputs(x_, h);
        values(heads);
        watch_.lap(Phase::values);
    }

    void scores(Heads blocks) {
        if constexpr (Shape::whole_rows_possible)
            if (x_.reading.order == RowOrder::whole_rows) return whole_scores(blocks);
        if constexpr (Shape::dots)
            if (x_.job.kv.tied == 0 && simd::RowScale::is_of(x_.job.kv.k)) return code_scores(blocks);
        if (widens_keys(x_.job.kv))
            widened_scores(x_, blocks);
        else
            simd::with_type(x_.job.kv.k.dtype, [&]<class T>(const T*) { stream_scores<Arch, Rows, T>(x_, blocks); });
        watch_.lap(Phase::scores);
    }

    /// Codes meet the queries without being widened. With more rows they are widened once for all of them.
    void code_scores(Heads blocks) {
        stream_scores<Arch, Rows, simd::Code8>(x_, blocks);
        for (const HeadBlock& h : blocks) scale_code_scores(x_, h);
        watch_.lap(Phase::scores);
    }

    void whole_scores(Heads blocks) {
        const FewScratch& x = x_.scratch;
        const HeadBlock& first = blocks.front();
        const std::int64_t end = blocks.back().head + 1,
                           next_end = std::min(end + x_.reading.heads_in_flight(), x_.task.head_end);
        whole_rows_.plan(x.k_rows, x_.job.values ? x.v_rows : nullptr, run_.count, first.head, end, next_end);
        watch_.lap(Phase::pack);
        if (run_.count > rows_block)
            whole_rows_.scores(first.q, first.s, x.places);
        else
            whole_rows_.scores(first.q, Rows * x_.q_stride, first.s, Shape::s_stride);
        watch_.lap(Phase::scores);
    }

    void values(Heads heads) {
        if constexpr (Shape::whole_rows_possible)
            if (x_.reading.order == RowOrder::whole_rows && !nan_safe_)
                return whole_rows_.add_values(heads[0].s, Shape::s_stride, heads[0].o, Rows * x_.o_stride, x_.o_stride,
                                              heads[0].keys.begin - run_.begin, heads[0].keys.count);
        if constexpr (Shape::dots)
            if (!nan_safe_ && simd::RowScale::is_of(x_.job.kv.v))
                return add_stream_values<Arch, Rows, simd::Code8>(x_, heads, false);
        if (x_.job.kv.v.dtype == Dtype::codes) return add_code_values(x_, heads, nan_safe_);
        simd::with_type(x_.job.kv.v.dtype,
                        [&]<class T>(const T*) { add_stream_values<Arch, Rows, T>(x_, heads, nan_safe_); });
    }

    /// Values that are prefetched beside weights, for memory would idle meanwhile: those behind what the keys' pass has
    /// prefetched, of this head, or from this one on of whole rows.
    simd::PrefetchQueue first_values(const HeadBlock& h) const {
        if (!x_.job.values || !Shape::dots) return {};
        switch (x_.reading.order) {
            case RowOrder::cached:
                return {};
            case RowOrder::streamed:
                return first_stream_values(x_, h);
            case RowOrder::whole_rows:
                return whole_rows_.first_values(h.keys.begin - run_.begin);
        }
        return {};
    }

    const FewTask<Arch, Rows> x_;
    WholeRows<Arch, Rows> whole_rows_;
    KeyBlock run_;              ///< a block of keys, or several
    std::int64_t streams_ = 1;  ///< places that rows of its blocks are taken from in turn
    bool nan_safe_ = false;
    Stopwatch watch_;
};

}  // namespace attention

ATTENTA_END
