// Scores of a block become weights in the few-query loop: S[token][row], statistics of all rows in the lanes of vectors.
#pragma once

#include <attenta/engine/common/normalizer.hpp>
#include <attenta/engine/few/row_table.hpp>
#include <attenta/engine/few/task.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/transpose.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
class RowWeights {
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;

public:
    static constexpr std::int64_t tokens = Rows < L ? L / Rows : 1;  ///< of one vector
    static constexpr std::int64_t width = FewShape<Arch, Rows>::width;

    /// s[step][lane] <- exp(s - m), in `steps` vectors that lie `width` apart; m, l and alpha, the correction that the
    /// rows' sums so far take, are a vector each. Prefetches on the way.
    static void update(float* s, std::int64_t steps, float* m, float* l, float* alpha, simd::PrefetchQueue& queue) {
        const Batch before = simd::load<Arch>(m);
        const OnlineStep<Arch> step(before, column_max(s, steps, before));
        Batch sum[2] = {Batch(0.f), Batch(0.f)};
        for (std::int64_t i = 0; i < steps; ++i) {
            queue.template prefetch<lines_per_weights>();
            const Batch p = step.weight(simd::load<Arch>(s + i * width));
            p.store_unaligned(s + i * width);
            sum[i % 2] = sum[i % 2] + p;
        }
        step.sum(simd::load<Arch>(l), sum[0] + sum[1]).store_unaligned(l);
        step.max.store_unaligned(m);
        step.alpha.store_unaligned(alpha);
    }

    /// The same of weights that score edits have made.
    static void keep(float* s, std::int64_t steps, float* l, float* alpha) {
        Batch sum(0.f);
        for (std::int64_t i = 0; i < steps; ++i) {
            const Batch w = LocalWeights<Arch>::weight(simd::load<Arch>(s + i * width));
            w.store_unaligned(s + i * width);
            sum = sum + w;
        }
        (simd::load<Arch>(l) + sum).store_unaligned(l);
        Batch(1.f).store_unaligned(alpha);
    }

private:
    /// The new maximum of each row, in all its lanes. Several chains hide the latency of a maximum.
    static Batch column_max(const float* s, std::int64_t steps, Batch before) {
        constexpr int chains = 4;
        Batch top[chains] = {before, before, before, before};
        std::int64_t i = 0;
        for (; i + chains <= steps; i += chains)
            simd::unrolled<chains>([&](auto c) ATTENTA_FLATTEN {
                top[c] = simd::max<Arch>(simd::load<Arch>(s + (i + c) * width), top[c]);
            });
        for (; i < steps; ++i) top[0] = simd::max<Arch>(simd::load<Arch>(s + i * width), top[0]);
        const Batch all = simd::max<Arch>(simd::max<Arch>(top[0], top[1]), simd::max<Arch>(top[2], top[3]));
        if constexpr (tokens == 1) return all;
        float lane[static_cast<std::size_t>(L)];
        all.store_unaligned(lane);
        for (std::int64_t r = 0; r < Rows; ++r) {
            for (std::int64_t u = 1; u < tokens; ++u) lane[r] = std::max(lane[r], lane[u * Rows + r]);
            for (std::int64_t u = 1; u < tokens; ++u) lane[u * Rows + r] = lane[r];
        }
        return simd::load<Arch>(lane);
    }
};

/// A head's scores of a block become weights, and its rows' statistics move on. Prefetches on the way.
template <class Arch, int Rows>
void update_softmax(const FewTask<Arch, Rows>& x, const HeadBlock& h, simd::PrefetchQueue& queue) {
    using Weights = RowWeights<Arch, Rows>;
    const std::int64_t count = h.keys.count, steps = ceil_div(count, Weights::tokens);
    std::fill(h.s + count * Rows, h.s + steps * Weights::width, minus_infinity);
    for (std::int64_t r = 0; r < x.rows; r += simd::lanes<Arch>)
        if (x.job.local_weights)
            Weights::keep(h.s + r, steps, h.l + r, h.alpha + r);
        else
            Weights::update(h.s + r, steps, h.m + r, h.l + r, h.alpha + r, queue);
}

/// Scores go to the caller, row by row. A stream's are those of `part` tokens behind each other.
template <class Arch, int Rows>
void keep_scores(const FewTask<Arch, Rows>& x, const HeadBlock& h, std::int64_t streams) {
    const std::int64_t part = h.keys.count / streams, stride = round_up(part, simd::lanes<Arch>);
    float* const tile = x.scratch.edit;
    simd::transpose_rows<Arch>(h.s, streams * Rows, part, streams * Rows, tile, stride);
    for (std::int64_t r = 0; r < x.rows; ++r) {
        float* const to = x.job.scores_of(h.row[r], x.task.q_begin, h.keys.begin);
        for (std::int64_t s = 0; s < streams; ++s) std::copy_n(tile + (s * Rows + r) * stride, part, to + s * part);
        simd::prefetch_row(to + h.keys.count, h.keys.count);  // of the next block, while its scores are made
    }
}

/// Weights take the factors of their values, which the sums do not know.
template <class Arch, int Rows>
void scale_weights(const FewTask<Arch, Rows>& x, const HeadBlock& h, std::int64_t streams) {
    const float* const gain = x.job.value_gain + h.keys.begin;
    for_tokens(h.keys.count, streams, [&](std::int64_t i, std::int64_t token) {
        for (std::int64_t r = 0; r < Rows; ++r) h.s[i * Rows + r] *= gain[token];
    });
}

}  // namespace attention

ATTENTA_END
