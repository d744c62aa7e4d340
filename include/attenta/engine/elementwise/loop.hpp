// The elementwise loop: a block of channels, its vectors, and what all recurrences on them share.
#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/elementwise/job.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/transpose.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

namespace elementwise {

/// Channels first .. first + width - 1 of a head, over the tokens of a sequence.
struct Block {
    const Job& job;
    std::int64_t head, first, width;
    std::int64_t begin, end;  ///< tokens
    float* state;             ///< state j of the first channel is state[j · state_stride]; null: zeros
    std::int64_t state_stride;
    float* scratch;       ///< rows of `stride` floats: the states, then what the mechanism asks for
    std::int64_t stride;  ///< at least width, a multiple of any vector

    Block(const Job& j, std::int64_t index, std::byte* memory)
        : job(j),
          head(index / j.blocks % j.o.heads),
          first(index % j.blocks * j.width),
          width(std::min(j.width, j.o.dim - first)),
          begin(0),
          end(j.o.tokens),
          state(nullptr),
          state_stride(j.o.dim),
          scratch(reinterpret_cast<float*>(memory)),
          stride(round_up(j.width, widest_vector)) {
        std::int64_t slot = 0;
        if (!j.sequences.starts.empty()) {
            const auto sequence = static_cast<std::size_t>(index / j.blocks / j.o.heads);
            begin = j.sequences.starts[sequence], end = j.sequences.starts[sequence + 1];
            slot = j.sequences.slots[sequence];
        }
        if (j.state) state = j.state + (slot * j.o.heads + head) * j.r.states * j.o.dim + first;
    }

    bool has(int i) const { return job.r.rows[static_cast<std::size_t>(i)].data != nullptr; }
    const float* in(int i, std::int64_t t) const {
        return job.r.rows[static_cast<std::size_t>(i)].row(head, t) + first;
    }
    float* out(std::int64_t t) const { return job.o.row(head, t) + first; }
    /// State j of the block, while the tokens pass.
    float* kept(std::int64_t j) const { return scratch + j * stride; }
    /// Row j of what the mechanism has asked for: scratch_rows, then memory_rows.
    float* own(std::int64_t j) const { return scratch + (job.r.states + j) * stride; }

    /// A row of the block's width, zeros behind it; null: `otherwise`.
    void copy(const float* from, float* to, float otherwise = 0) const {
        if (from)
            std::copy_n(from, width, to);
        else
            std::fill_n(to, width, otherwise);
        std::fill(to + width, to + stride, 0.f);
    }
    void load_states() const {
        for (std::int64_t j = 0; j < job.r.states; ++j) copy(state ? state + j * state_stride : nullptr, kept(j));
    }
    void store_states() const {
        for (std::int64_t j = 0; state && j < job.r.states; ++j) std::copy_n(kept(j), width, state + j * state_stride);
    }
    /// Rows that a later token brings, while this one is worked on.
    void prefetch(std::int64_t t) const {
        if (t < begin || t >= end) return;
        for (int i = 0; i < static_cast<int>(job.r.rows.size()); ++i)
            if (has(i)) simd::prefetch_row(in(i, t), width);
    }
};

/// A vector of a block's channels; `whole`, or with fewer than its lanes.
template <class Arch, bool whole>
struct Lanes {
    using B = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;

    std::int64_t c;      ///< the first channel
    std::int64_t count;  ///< of lanes that are channels

    /// Of a row of the caller's.
    ATTENTA_ALWAYS_INLINE B load(const float* row) const {
        if constexpr (whole)
            return simd::load<Arch>(row + c);
        else
            return simd::load_part<Arch>(row + c, count);
    }
    ATTENTA_ALWAYS_INLINE void store(float* row, B x) const {
        if constexpr (whole)
            x.store_unaligned(row + c);
        else
            simd::store_part<Arch>(row + c, x, count);
    }
    /// Of a row of scratch, which has room for whole vectors.
    ATTENTA_ALWAYS_INLINE B get(const float* row) const { return simd::load<Arch>(row + c); }
    ATTENTA_ALWAYS_INLINE void put(float* row, B x) const { x.store_unaligned(row + c); }
};

/// f(lanes) for all channels of a block.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_each_vector(const Block& block, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t c = 0;
    for (; c + L <= block.width; c += L) f(Lanes<Arch, true>{c, L});
    if (c < block.width) f(Lanes<Arch, false>{c, block.width - c});
}

/// f(lanes) for all channels of rows of scratch, which have room for whole vectors.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_each_vector_of_scratch(const Block& block, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t c = 0; c < block.width; c += L) f(Lanes<Arch, true>{c, L});
}

/// A block on its way through the tokens.
template <class Rule>
struct Recurrence {
    const Block block;
    const Rule rule;

    Recurrence(const Job& job, std::int64_t index, std::byte* scratch) : block(job, index, scratch), rule(block) {
        block.load_states();
    }
    /// Tokens begin .. end - 1 of those that the block has, in the order of the recurrence.
    void run(std::int64_t begin, std::int64_t end) const {
        const bool backwards = block.job.r.backwards;
        const std::int64_t next = backwards ? -1 : 1;
        std::int64_t t = backwards ? block.end - 1 - begin : block.begin + begin;
        for (std::int64_t i = begin; i < end; ++i, t += next) {
            block.prefetch(t + next * tokens_ahead);
            rule.step(t);
        }
    }
};

/// f(works, tokens) for neighbouring blocks of a task, each of which a Work(job, index, scratch) is made of, so that they may go
/// through a few tokens in turn: memory is then read in whole rows.
template <class Work, class F>
ATTENTA_ALWAYS_INLINE void for_neighbours(const Job& job, const Task& task, std::byte* scratch, F&& f) {
    const FlushToZero flush;
    for (std::int64_t first = task.begin, end; first < task.end; first = end) {
        end = std::min({task.end, first + job.together, (first / job.blocks + 1) * job.blocks});
        const Block block(job, first, scratch);
        if (block.begin == block.end) continue;
        std::optional<Work> works[static_cast<std::size_t>(most_together)];
        for (std::int64_t i = first; i < end; ++i)
            works[i - first].emplace(job, i, scratch + (i - first) * job.block_bytes);
        f(std::span(works, static_cast<std::size_t>(end - first)), block.end - block.begin);
    }
}

/// A recurrence: `Rule(block)` prepares the block's constants, rule.step(t) takes up a token and gives its output. States are
/// block.kept(j) while the tokens pass. Vectors follow each other inside a token, because they do not wait for one another.
template <class Arch, template <class> class Rule>
void run_recurrence(const Job& job, const Task& task, std::byte* scratch) {
    for_neighbours<Recurrence<Rule<Arch>>>(job, task, scratch, [](auto blocks, std::int64_t tokens) {
        for (std::int64_t t = 0; t < tokens; t += tokens_in_turn)
            for (const auto& block : blocks) block->run(t, std::min(t + tokens_in_turn, tokens));
        for (const auto& block : blocks) block->block.store_states();
    });
}

/// Rows of a block from a matrix [channels, columns] of the caller's, whose channels are `channel_stride` apart: to[j · stride]
/// gets column j, zeros behind the last channel. Vectors are read over the ends of rows, not of the block.
template <class Arch>
void take_columns(const Block& block, const float* from, std::int64_t channel_stride, std::int64_t columns, float* to) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    const std::int64_t readable = (block.width - 1) * channel_stride + columns;
    for (std::int64_t c = 0; c < block.width; c += L)
        for (std::int64_t j = 0; j < columns; j += L) {
            const float* const corner = from + c * channel_stride + j;
            float* const at = to + j * block.stride + c;
            const std::int64_t channels = std::min(L, block.width - c), rows = std::min(L, columns - j);
            if (channels == L && (c + L - 1) * channel_stride + j + L <= readable) {
                simd::Batch<Arch> tile[static_cast<std::size_t>(L)];
                simd::unrolled<static_cast<int>(L)>(
                    [&](auto i) ATTENTA_FLATTEN { tile[i] = simd::load<Arch>(corner + i * channel_stride); });
                simd::transpose<Arch>(tile);
                for (std::int64_t i = 0; i < rows; ++i) tile[i].store_unaligned(at + i * block.stride);
            } else {
                for (std::int64_t i = 0; i < rows; ++i)
                    for (std::int64_t k = 0; k < channels; ++k)
                        at[i * block.stride + k] = corner[k * channel_stride + i];
            }
        }
    for (std::int64_t j = 0; j < columns; ++j)
        std::fill(to + j * block.stride + block.width, to + (j + 1) * block.stride, 0.f);
}

}  // namespace elementwise

ATTENTA_END
