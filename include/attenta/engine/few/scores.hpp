// Scores of the few-query loop from rows of keys in streams. Those from whole rows are in whole_rows.hpp.
#pragma once

#include <attenta/engine/few/row_streams.hpp>
#include <attenta/engine/few/task.hpp>
#include <attenta/simd/codes.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

namespace attention {

template <class Arch, int Rows>
RowStream keys_of(const FewTask<Arch, Rows>& x, std::int64_t head, std::int64_t tokens) {
    return {x.scratch.k_rows, tokens, x.job.kv.k.head_bytes(head), x.job.tuning->prefetch_to_l1};
}
template <class Arch, int Rows>
RowStream values_of(const FewTask<Arch, Rows>& x, std::int64_t head, std::int64_t tokens) {
    return {x.scratch.v_rows, tokens, x.job.kv.v.head_bytes(head), x.job.tuning->prefetch_to_l1};
}

// The kernels' callers are not inlined: on their own they keep everything in registers.

/// Of tile_keys tokens from t on, for many query rows: these fill vectors and meet the keys' channels one by one.
template <class Arch, int Rows, class T>
[[gnu::noinline]] void score_tile(const FewTask<Arch, Rows>& x, const HeadBlock& h, const RowPass& pass,
                                  std::int64_t t) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    constexpr int keys = FewShape<Arch, Rows>::tile_keys;
    const RowStream& now = pass.now[h.place];
    auto queue = pass.prefetch_queue(h.place, t, keys);
    float *const out = h.s + t * Rows, *const widened = x.scratch.widened;
    constexpr bool widens = !std::is_same_v<T, float>;
    for (int u = 0; widens && u < keys; ++u)
        simd::widen_row<Arch>(reinterpret_cast<const T*>(now.row(t + u)), widened + u * x.q_stride, x.dim);
    const auto key = [&](auto u) ATTENTA_FLATTEN {
        return widens ? widened + u * x.q_stride : reinterpret_cast<const float*>(now.row(t + u));
    };
    std::int64_t r = 0;
    for (; r + L < x.rows; r += 2 * L) simd::score_keys<Arch, keys, 2>(key, h.q + r, Rows, x.dim, out + r, Rows, queue);
    if (r < x.rows) simd::score_keys<Arch, keys, 1>(key, h.q + r, Rows, x.dim, out + r, Rows, queue);
}

/// One vector of dot products with dot_part rows of queries. Keys from memory are read in longer pieces where registers
/// hold them; halves have conversions to do, too.
template <class Arch, int Rows, class T>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> dots_of_part(const FewTask<Arch, Rows>& x, const RowStream& now, std::int64_t t,
                                                     simd::PrefetchQueue& queue, const float* q) {
    constexpr int part = FewShape<Arch, Rows>::dot_part;
    if constexpr (simd::lanes<Arch> == 16 && part == 4 && std::is_same_v<T, float>)
        if (x.reading.long_dots)
            return simd::dot_long_rows<Arch, part, 2, 4, T>(now.rows + t, now.offset, queue, q, x.dim);
    return simd::dot_rows<Arch, part, T>(now.rows + t, now.offset, queue, q, x.dim);
}

/// Of tokens [t, end), for few query rows: dot products, a vector of them at a time.
template <class Arch, int Rows, class T>
[[gnu::noinline]] void dot_products(const FewTask<Arch, Rows>& x, const HeadBlock& h, const RowPass& pass,
                                    std::int64_t t, std::int64_t end) {
    using Shape = FewShape<Arch, Rows>;
    constexpr int part = Shape::dot_part;
    const RowStream& now = pass.now[h.place];
    auto queue = pass.prefetch_queue(h.place, t, Shape::score_step);
    float* out = h.s + t * Rows;
    for (; t < end; t += Shape::score_tokens, out += Shape::score_tokens * Rows) {
        for (int first = 0; first < Rows; first += part) {
            const simd::Batch<Arch> products = dots_of_part<Arch, Rows, T>(x, now, t, queue, h.q + first * x.q_stride);
            if constexpr (Rows == part) {
                products.store_unaligned(out);
            } else {
                float lane[static_cast<std::size_t>(Shape::L)];
                products.store_unaligned(lane);
                for (std::int64_t u = 0; u < Shape::score_tokens; ++u)
                    std::copy_n(lane + u * part, part, out + u * Rows + first);
            }
        }
    }
}

/// What was widened to `decoded` as rows of a stream, with `more` repetitions of the last.
template <class Arch, int Rows>
RowStream decoded_rows(const FewTask<Arch, Rows>& x, std::int64_t n, std::int64_t more) {
    const FewScratch& to = x.scratch;
    for (std::int64_t i = 0; i < n + more; ++i)
        to.decoded_rows[i] = reinterpret_cast<const std::byte*>(to.decoded_row(std::min(i, n - 1)));
    return {to.decoded_rows, n};
}

/// S = Q K^T of a block of codes, or of keys that begin with their values.
template <class Arch, int Rows>
void widened_scores(const FewTask<Arch, Rows>& x, std::span<const HeadBlock> heads) {
    using Shape = FewShape<Arch, Rows>;
    const FewScratch& to = x.scratch;
    const std::int64_t count = heads[0].keys.count;
    RowPass pass{{}, {}, 1, 0, 0, 0};
    for (const HeadBlock& h : heads)
        for (std::int64_t t = 0; t < count; t += FewScratch::most_decoded) {
            const std::int64_t n = std::min(FewScratch::most_decoded, count - t);
            simd::widen_keys<Arch>(x.job.kv, h.head, to.k_rows + t, to.v_rows + t, n, to.decoded_row(0),
                                   to.decoded_stride, to.decoded);
            pass.now[0] = decoded_rows(x, n, Shape::score_tokens);
            HeadBlock part = h;
            part.place = 0;
            part.s += t * Rows;
            if constexpr (Shape::dots)
                dot_products<Arch, Rows, float>(x, part, pass, 0, n);
            else
                for (std::int64_t i = 0; i < n; i += Shape::score_tokens)
                    score_tile<Arch, Rows, float>(x, part, pass, i);
        }
}

/// Scores of codes become those of their numbers: Σ q (scale · code + offset) = scale · Σ q code + offset · Σ q.
template <class Arch, int Rows>
void scale_code_scores(const FewTask<Arch, Rows>& x, const HeadBlock& h) {
    using Shape = FewShape<Arch, Rows>;
    constexpr int part = Shape::dot_part;
    float sums[Rows];
    for (int first = 0; first < Rows; first += part)
        for (int r = 0; r < part; ++r) {
            simd::Batch<Arch> sum(0.f);
            for (std::int64_t c = 0; c < x.dim; c += Shape::L)
                sum = sum + simd::load<Arch>(h.q + first * x.q_stride + c * part + r * Shape::L);
            sums[first + r] = simd::reduce_add<Arch>(sum);
        }
    const RowStream rows = keys_of(x, h.head, h.keys.count);
    for (std::int64_t i = 0; i < h.keys.count; ++i) {
        const auto [scale, offset] = simd::RowScale::of(x.job.kv.k, rows.row(i));
        for (int r = 0; r < Rows; ++r) h.s[i * Rows + r] = scale * h.s[i * Rows + r] + offset * sums[r];
    }
}

/// S = Q K^T of a block, for the interleaved heads in flight.
template <class Arch, int Rows, class T>
void stream_scores(const FewTask<Arch, Rows>& x, std::span<const HeadBlock> heads) {
    constexpr std::int64_t step = FewShape<Arch, Rows>::score_step;
    const std::int64_t count = heads[0].keys.count;
    RowPass pass{{}, {}, std::ssize(heads), step, x.reading.key_steps_ahead, x.job.kv.k.row_bytes()};
    for (const HeadBlock& h : heads) {
        pass.now[h.place] = keys_of(x, h.head, count);
        if (x.job.values) pass.after[h.place] = values_of(x, h.head, count);
    }
    for (std::int64_t t = 0; t < count; t += step)
        for (const HeadBlock& h : heads)
            if constexpr (FewShape<Arch, Rows>::dots)
                dot_products<Arch, Rows, T>(x, h, pass, t, std::min(t + step, count));
            else
                score_tile<Arch, Rows, T>(x, h, pass, t);
}

}  // namespace attention

ATTENTA_END
