// Values of the few-query loop from rows in streams. Those from whole rows are in whole_rows.hpp.
#pragma once

#include <attenta/engine/few/row_streams.hpp>
#include <attenta/engine/few/scores.hpp>
#include <attenta/engine/few/task.hpp>
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

/// o[row][·] takes the online softmax's correction.
template <class Arch, int Rows>
void correct_outputs(const FewTask<Arch, Rows>& x, const HeadBlock& h) {
    for (std::int64_t r = 0; r < x.rows; ++r)
        if (h.alpha[r] != 1.f) simd::scale_row<Arch>(h.o + r * x.o_stride, x.o_stride, h.alpha[r]);
}

/// The first rows of values that the keys' pass has not prefetched.
template <class Arch, int Rows>
simd::PrefetchQueue first_stream_values(const FewTask<Arch, Rows>& x, const HeadBlock& h) {
    const std::int64_t bytes = x.job.kv.v.row_bytes();
    const FewTuning& tuning = x.job.tuning->few;
    return values_of(x, h.head, h.keys.count)
        .prefetch_queue(tuning.prefetch_distance / bytes, tuning.most_values, bytes);
}

/// Codes of tokens [t, t + n) will be added as they are: weights take their scales, and their offsets, which are the same for all
/// channels, are added here.
template <class Arch, int Rows>
void scale_code_weights(const FewTask<Arch, Rows>& x, const HeadBlock& h, const RowStream& now, std::int64_t t,
                        std::int64_t n) {
    float sums[Rows] = {};
    float* s = h.s + t * Rows;
    for (std::int64_t i = t; i < t + n; ++i, s += Rows) {
        const auto [scale, offset] = simd::RowScale::of(x.job.kv.v, now.row(i));
        for (int r = 0; r < Rows; ++r) {
            sums[r] += offset * s[r];
            s[r] *= scale;
        }
    }
    for (std::int64_t r = 0; r < x.rows; ++r)
        simd::map_row<Arch>(h.o + r * x.o_stride, h.o + r * x.o_stride, x.o_stride,
                            [sum = simd::Batch<Arch>(sums[r])](simd::Batch<Arch> o)
                                ATTENTA_FLATTEN { return o + sum; });
}

/// o[row][·] += Σ s[token][row] v[token][·] for tokens [t, t + n). Not inlined, as the kernels of scores.
template <class Arch, int Rows, class T>
[[gnu::noinline]] void add_values(const FewTask<Arch, Rows>& x, const HeadBlock& h, const RowPass& pass, std::int64_t t,
                                  std::int64_t n) {
    const RowStream& now = pass.now[h.place];
    const std::byte* const* const v = now.rows + t;
    auto queue = pass.prefetch_queue(h.place, t, n);
    if constexpr (std::is_same_v<T, simd::Code8>) scale_code_weights(x, h, now, t, n);
    const auto add = [&]<int R>(std::integral_constant<int, R>, std::int64_t r) {
        simd::add_values<Arch, R, Rows, T>(v, now.offset, queue, n, h.s + t * Rows + r, Rows, x.dim_v,
                                           h.o + r * x.o_stride, x.o_stride);
    };
    const std::int64_t rows = x.rows;
    std::int64_t r = 0;
    if constexpr (!FewShape<Arch, Rows>::dots) {
        constexpr int many = simd::TileShape<Arch>::rows;
        constexpr std::int64_t by_eight = std::is_same_v<T, float> ? two_eights : 0;
        for (; r + many <= rows && r + by_eight != rows; r += many) add(std::integral_constant<int, many>{}, r);
        if constexpr (many > 8)
            for (; r + 8 <= rows; r += 8) add(std::integral_constant<int, 8>{}, r);
    }
    for (; r + 4 <= rows; r += 4) add(std::integral_constant<int, 4>{}, r);
    for (; r + 2 <= rows; r += 2) add(std::integral_constant<int, 2>{}, r);
    for (; r < rows; ++r) add(std::integral_constant<int, 1>{}, r);
}

/// The same without values whose weight is zero: a NaN or infinity of them stays out.
template <class Arch, int Rows, class T>
void add_nan_safe_values(const FewTask<Arch, Rows>& x, const HeadBlock& h, const RowStream& values, std::int64_t t,
                         std::int64_t n) {
    for (std::int64_t r = 0; r < x.rows; ++r)
        for (std::int64_t i = t; i < t + n; ++i)
            if (h.s[i * Rows + r] != 0.f)
                simd::add_row<Arch>(h.o + r * x.o_stride, reinterpret_cast<const T*>(values.row(i)), x.dim_v,
                                    h.s[i * Rows + r]);
}

/// O += P V of a block of codes.
template <class Arch, int Rows>
void add_code_values(const FewTask<Arch, Rows>& x, std::span<const HeadBlock> heads, bool nan_safe) {
    const FewScratch& to = x.scratch;
    const std::int64_t count = heads[0].keys.count;
    RowPass pass{{}, {}, 1, 0, 0, 0};
    for (const HeadBlock& h : heads)
        for (std::int64_t t = 0; t < count; t += FewScratch::most_decoded) {
            const std::int64_t n = std::min(FewScratch::most_decoded, count - t);
            const RowStream rows = values_of(x, h.head, count);
            simd::widen_codes<Arch>(x.job.kv.v, rows.rows + t, rows.offset, n, to.decoded_row(0), to.decoded_stride,
                                    to.decoded);
            pass.now[0] = decoded_rows(x, n, 0);
            HeadBlock part = h;
            part.place = 0;
            part.s += t * Rows;
            if (nan_safe)
                add_nan_safe_values<Arch, Rows, float>(x, part, pass.now[0], 0, n);
            else
                add_values<Arch, Rows, float>(x, part, pass, 0, n);
        }
}

/// O += P V of a block, for the interleaved heads in flight.
template <class Arch, int Rows, class T>
void add_stream_values(const FewTask<Arch, Rows>& x, std::span<const HeadBlock> heads, bool nan_safe) {
    const std::int64_t in_flight = std::ssize(heads), count = heads[0].keys.count, step = x.reading.value_step;
    RowPass pass{{}, {}, in_flight, step, x.reading.value_steps_ahead, x.job.kv.v.row_bytes()};
    for (const HeadBlock& h : heads) {
        const std::int64_t next = h.head + in_flight;
        pass.now[h.place] = values_of(x, h.head, count);
        if (next < x.task.head_end) pass.after[h.place] = keys_of(x, next, count);
    }
    for (std::int64_t t = 0; t < count; t += step) {
        const std::int64_t n = std::min(step, count - t);
        for (const HeadBlock& h : heads)
            if (nan_safe)
                add_nan_safe_values<Arch, Rows, T>(x, h, pass.now[h.place], t, n);
            else
                add_values<Arch, Rows, T>(x, h, pass, t, n);
    }
}

}  // namespace attention

ATTENTA_END
