// The few-query loop's products with float rows of K and V that come from memory, read one row after the other.
#pragma once

#include <attenta/engine/few/task.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/prefetch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// Interleaved heads against the tokens of a block. Everything but the rows stays in L1.
///
/// The rows stand in a table in the order in which they are read: Intel's processors fetch what such a table points to,
/// but not what lies at an offset from there. What is read some rows later stands as many entries further on.
template <class Arch, int Rows>
class WholeRows {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr std::int64_t key_step = FewShape<Arch, Rows>::score_step;  ///< interleave step of keys, in tokens
    static constexpr int line = std::max(1, static_cast<int>(simd::per_line<float> / L));

public:
    static constexpr std::int64_t score_tokens = std::max<std::int64_t>(1, L / Rows);  ///< whose scores fill a vector
    static_assert(!FewShape<Arch, Rows>::whole_rows_possible || score_tokens == FewShape<Arch, Rows>::score_tokens);

    WholeRows(const Job& job, const Reading& reading, const std::byte** table)
        : tuning_(job.tuning->few),
          kv_(job.kv),
          interleaved_(reading.interleaved),
          value_step_(reading.value_step),
          table_(table),
          end_(table) {}

    /// `count` tokens of the heads [begin, end): keys, values unless v_rows is null, and what is prefetched of the keys of
    /// the next heads, which end before next_end. Rows are those of head 0, keys up to a multiple of score_tokens.
    void plan(const std::byte* const* k_rows, const std::byte* const* v_rows, std::int64_t count, std::int64_t begin,
              std::int64_t end, std::int64_t next_end) {
        heads_ = end - begin;
        count_ = count;
        end_ = table_;
        add(kv_.k, k_rows, round_up(count, score_tokens), key_step, begin, end);
        values_ = end_;
        if (v_rows) add(kv_.v, v_rows, count, value_step_, begin, end);
        if (end < next_end) add(kv_.k, k_rows, std::min(count, rows_ahead(kv_.k)), key_step, end, next_end);
    }

    /// Of a head's tokens [token][Rows]; queries as simd::interleave_rows leaves them.
    [[gnu::noinline]] void scores(const float* q, std::int64_t q_stride, float* s, std::int64_t s_stride) const {
        const std::int64_t ahead = rows_ahead(kv_.k), bytes = kv_.k.row_bytes();
        const std::byte* const* k = table_;
        for (std::int64_t step = 0; step < count_; step += key_step)
            for (std::int64_t h = 0; h < heads_; ++h)
                for (std::int64_t t = step; t < std::min(step + key_step, count_); t += score_tokens, k += score_tokens)
                    products(k, prefetch_queue(k + ahead, score_tokens, bytes), q + h * q_stride)
                        .store_unaligned(s + h * s_stride + t * Rows);
    }

    /// The same of one head, to `place[token]`.
    [[gnu::noinline]] void scores(const float* q, float* s, const std::int32_t* place) const {
        const std::int64_t ahead = rows_ahead(kv_.k), bytes = kv_.k.row_bytes();
        for (std::int64_t t = 0; t < count_; t += score_tokens) {
            float lane[static_cast<std::size_t>(L)];
            products(table_ + t, prefetch_queue(table_ + t + ahead, score_tokens, bytes), q).store_unaligned(lane);
            for (std::int64_t u = 0; u < score_tokens; ++u) std::copy_n(lane + u * Rows, Rows, s + place[t + u]);
        }
    }

    /// Rows of V from token `first` on that are not prefetched yet.
    simd::PrefetchQueue first_values(std::int64_t first = 0) const {
        return prefetch_queue(values_ + first + rows_ahead(kv_.k), heads_ * count_, kv_.v.row_bytes());
    }

    /// o[head][row][·] += Σ s[head][token][row] v[token][·] for `count` tokens of all heads; of one head from `first` on.
    [[gnu::noinline]] void add_values(const float* s, std::int64_t s_stride, float* o, std::int64_t o_stride,
                                      std::int64_t row_stride, std::int64_t first, std::int64_t count) const {
        const std::int64_t ahead = rows_ahead(kv_.v) * (interleaved_ ? tuning_.interleaved_prefetch : 1),
                           bytes = kv_.v.row_bytes();
        const std::byte* const* v = values_ + first;
        for (std::int64_t step = 0; step < count; step += value_step_)
            for (std::int64_t h = 0; h < heads_; ++h) {
                const std::int64_t n = std::min(value_step_, count - step);
                const float* const p = s + h * s_stride + step * Rows;
                auto queue = prefetch_queue(v + ahead, n, bytes);
                std::int64_t i = 0;
                for (; i + 2 <= n; i += 2)
                    simd::add_whole_values<Arch, Rows, 2, float>(v + i, queue, p + i * Rows, kv_.v.dim,
                                                                 o + h * o_stride, row_stride);
                if (i < n)
                    simd::add_whole_values<Arch, Rows, 1, float>(v + i, queue, p + i * Rows, kv_.v.dim,
                                                                 o + h * o_stride, row_stride);
                v += n;
            }
    }

private:
    std::int64_t rows_ahead(const KvView::Rows& side) const {
        return std::max<std::int64_t>(1, tuning_.prefetch_distance / side.row_bytes());
    }
    /// n rows of each of the heads, `step` of them at a time.
    void add(const KvView::Rows& side, const std::byte* const* rows, std::int64_t n, std::int64_t step,
             std::int64_t begin, std::int64_t end) {
        if (end - begin == 1) step = n;
        const std::byte** out = end_;
        for (std::int64_t t = 0; t < n; t += step) {
            const std::int64_t here = std::min(step, n - t);
            for (std::int64_t head = begin; head < end; ++head, out += here) {
                const std::int64_t offset = side.head_bytes(head);
                for (std::int64_t i = 0; i < here; ++i) out[i] = rows[t + i] + offset;
            }
        }
        end_ = out;
    }

    simd::PrefetchQueue prefetch_queue(const std::byte* const* first, std::int64_t n, std::int64_t bytes) const {
        const std::byte* const* const end = end_;
        return {std::min(first, end), std::min(first + n, end), 0, bytes};
    }

    /// Two or eight rows of queries, which registers hold for several keys, gain nothing.
    ATTENTA_ALWAYS_INLINE simd::Batch<Arch> products(const std::byte* const* k, simd::PrefetchQueue&& queue,
                                                     const float* q) const {
        if constexpr (Rows == 1 || Rows == 4)
            return simd::dot_long_rows<Arch, Rows, 1, line, float>(k, 0, queue, q, kv_.k.dim);
        else
            return simd::dot_rows<Arch, Rows, float>(k, 0, queue, q, kv_.k.dim);
    }

    const FewTuning& tuning_;
    const KvView& kv_;
    const bool interleaved_;
    const std::int64_t value_step_;
    const std::byte **table_, **end_, **values_ = nullptr;
    std::int64_t heads_ = 0, count_ = 0;
};

}  // namespace attention

ATTENTA_END
