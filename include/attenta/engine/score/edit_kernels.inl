// attenta's own score edits and observers, on SIMD batches.
#pragma once

#include <attenta/engine/score/edits.hpp>
#include <attenta/engine/score/observers.hpp>
#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/pack.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace edits {

template <class Arch>
void SoftCap::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    // Of a cap beyond 2^125 the inverse is subnormal, of a subnormal cap it is infinite.
    const float shrink = cap > 0x1p125f ? 0.125f : 1.f;
    const B whole(cap), part(shrink), inverse(std::min(1.f / (cap * shrink), std::numeric_limits<float>::max()));
    t.map([&](B s) { return simd::scaled_tanh<Arch>(s * part * inverse, whole, s); });
}

template <class Arch>
void Alibi::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    t.map([&](B s, const QueryRow& row, B distance) { return s - B(slopes[row.head]) * xsimd::abs(distance); });
}

/// A select, not a sum, where the bias is -inf: what hides a key hides a score of inf or NaN, too.
template <class Arch>
simd::Batch<Arch> biased(simd::Batch<Arch> s, simd::Batch<Arch> bias) {
    const simd::Batch<Arch> hidden(-std::numeric_limits<float>::infinity());
    return xsimd::select(bias == hidden, hidden, s + bias);
}

template <class Arch, class T>
void add_bias(float* s, const T* bias, std::int64_t n) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L) biased<Arch>(simd::load<Arch>(s + i), simd::load<Arch>(bias + i)).store_unaligned(s + i);
    if (i < n) {
        const simd::Batch<Arch> x = simd::load_part<Arch>(s + i, n - i), b = simd::load_part<Arch>(bias + i, n - i);
        simd::store_part<Arch>(s + i, biased<Arch>(x, b), n - i);
    }
}

template <class Arch>
void Bias::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    const FloatMatrices& own = of(t.row(0));
    if (!own) return;
    const std::int64_t known = std::clamp<std::int64_t>(own.cols - block.begin, 0, block.count);
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        float* const s = t.raw().s + r * t.raw().stride;
        simd::with_type(own.dtype, [&]<class T>(const T*) {
            const T* row = static_cast<const T*>(own.row(t.row(r).head, t.row(r).index));
            if (known > 0) add_bias<Arch>(s, row + block.begin, known);
        });
        std::fill(s + known, s + block.count, -std::numeric_limits<float>::infinity());
    }
}

template <class Arch>
void Listed::operator()(Tile<Arch> t) const {
    if (t.rows() == 0 || counted[t.row(0).sequence] == 0) return;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        float* const s = t.raw().s + r * t.raw().stride;
        if (gain) simd::multiply_row<Arch>(s, gain + block.begin, block.count);
        if (bias) add_bias<Arch>(s, bias + block.begin, block.count);
    }
}

/// f(row, numbers) for each row of a tile: the table's numbers of its keys.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_distance_rows(const DistanceBias& x, const Tile<Arch>& t, F&& f) {
    const KeyBlock& block = t.raw().keys;
    // Where the tile's keys are a run of positions, a row's numbers are a run of the table.
    float gathered[ScoreTile::most_keys];
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const float* const numbers = x.row(row);
        const auto place = [&](std::int64_t key) { return block.position(key) - row.position - x.first; };
        const float* from = numbers;
        if (block.positions) {
            for (std::int64_t i = 0; i < block.count; ++i)
                gathered[i] = numbers[std::clamp<std::int64_t>(place(i), 0, x.count - 1)];
            from = gathered;
        } else {
            from += std::clamp<std::int64_t>(place(0), -DistanceBias::padding, x.count);
        }
        f(t.raw().s + r * t.raw().stride, from);
    }
}

template <class Arch>
void DistanceBias::operator()(Tile<Arch> t) const {
    for_distance_rows<Arch>(*this, t,
                            [&](float* s, const float* bias) { add_bias<Arch>(s, bias, t.raw().keys.count); });
}

template <class Arch>
void DistanceGain::operator()(Tile<Arch> t) const {
    for_distance_rows<Arch>(
        *this, t, [&](float* s, const float* gain) { simd::multiply_row<Arch>(s, gain, t.raw().keys.count); });
}

template <class Arch>
void PairTerms::operator()(Tile<Arch> t) const {
    const DistanceTerms& x = *terms;
    const KeyBlock& block = t.raw().keys;
    float sums[ScoreTile::most_keys];
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const std::int64_t shift = row.position + x.first;
        const auto place = [&](std::int64_t i) {
            return std::clamp<std::int64_t>(block.position(i) - shift, 0, x.count - 1);
        };
        std::fill_n(sums, block.count, 0.f);
        if (x.query) {
            const float* const of_query = x.query + (row.head * x.queries + row.index) * x.columns;
            for (std::int64_t i = 0; i < block.count; ++i) sums[i] += of_query[x.query_column[place(i)]];
        }
        if (x.key) {
            const float* const of_keys = x.key + (row.head / x.group * x.keys + block.begin) * x.columns;
            for (std::int64_t i = 0; i < block.count; ++i) sums[i] += of_keys[i * x.columns + x.key_column[place(i)]];
        }
        add_bias<Arch>(t.raw().s + r * t.raw().stride, sums, block.count);
    }
}

template <class Arch>
void KeyGain::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const s = t.raw().s + r * t.raw().stride;
        simd::multiply_row<Arch>(s, gain + row.head / group * keys + block.begin, block.count);
        if (!shift) continue;
        const B plus(shift[row.head * queries + row.index]);
        simd::map_row<Arch>(s, s, block.count, [&](B x) ATTENTA_FLATTEN { return x + plus; });
    }
}

template <class Arch>
void DistanceSums::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const to = sums + (row.head * queries + row.index) * count;
        const float* const w = t.raw().s + r * t.raw().stride;
        if (block.positions) {
            for (std::int64_t i = 0; i < block.count; ++i)
                to[std::clamp<std::int64_t>(block.position(i) - row.position - first, 0, count - 1)] += w[i];
            continue;
        }
        // Keys [begin, end) have a sum each, those before and behind them share the first and the last.
        const auto all = [](simd::Batch<Arch> x) ATTENTA_FLATTEN { return x; };
        const std::int64_t of_key_0 = block.begin - row.position - first,
                           begin = std::clamp<std::int64_t>(-of_key_0, 0, block.count),
                           end = std::clamp<std::int64_t>(count - of_key_0, begin, block.count);
        if (begin > 0) to[0] += simd::sum_row<Arch>(w, begin, all);
        if (end > begin) simd::add_row<Arch>(to + of_key_0 + begin, w + begin, end - begin, 1.f);
        if (block.count > end) to[count - 1] += simd::sum_row<Arch>(w + end, block.count - end, all);
    }
}

template <class Arch>
void ColumnSums::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r)
        simd::add_row<Arch>(sums + t.row(r).head * keys + block.begin, t.raw().s + r * t.raw().stride, block.count,
                            1.f);
}

template <class Arch>
void LastRows::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const std::int64_t i = t.row(r).index - (queries - count);
        if (i >= 0)
            std::copy_n(t.raw().s + r * t.raw().stride, block.count,
                        weights + (t.row(r).head * count + i) * keys + block.begin);
    }
}

ATTENTA_DEFINE_EDIT(SoftCap)
ATTENTA_DEFINE_EDIT(Alibi)
ATTENTA_DEFINE_EDIT(Bias)
ATTENTA_DEFINE_EDIT(Listed)
ATTENTA_DEFINE_EDIT(DistanceBias)
ATTENTA_DEFINE_EDIT(DistanceGain)
ATTENTA_DEFINE_EDIT(PairTerms)
ATTENTA_DEFINE_EDIT(KeyGain)
ATTENTA_DEFINE_EDIT(DistanceSums)
ATTENTA_DEFINE_EDIT(ColumnSums)
ATTENTA_DEFINE_EDIT(LastRows)

}  // namespace edits

ATTENTA_END
