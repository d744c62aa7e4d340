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
void apply(const SoftCap& e, const Tile<Arch>& t) {
    using B = simd::Batch<Arch>;
    // Of a cap beyond 2^125 the inverse is subnormal, of a subnormal cap it is infinite.
    const float shrink = e.cap > 0x1p125f ? 0.125f : 1.f;
    const B cap(e.cap), part(shrink), inverse(std::min(1.f / (e.cap * shrink), std::numeric_limits<float>::max()));
    t.map([&](B s) { return simd::scaled_tanh<Arch>(s * part * inverse, cap, s); });
}

template <class Arch>
void apply(const Alibi& e, const Tile<Arch>& t) {
    using B = simd::Batch<Arch>;
    t.map([&](B s, const QueryRow& row, B distance) { return s - B(e.slopes[row.head]) * xsimd::abs(distance); });
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
void apply(const Bias& e, const Tile<Arch>& t) {
    const KeyBlock& keys = t.raw().keys;
    const FloatMatrices& bias = e.of(t.row(0));
    if (!bias) return;
    const std::int64_t known = std::clamp<std::int64_t>(bias.cols - keys.begin, 0, keys.count);
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        float* const s = t.raw().s + r * t.raw().stride;
        simd::with_type(bias.dtype, [&]<class T>(const T*) {
            const T* row = static_cast<const T*>(bias.row(t.row(r).head, t.row(r).index));
            if (known > 0) add_bias<Arch>(s, row + keys.begin, known);
        });
        std::fill(s + known, s + keys.count, -std::numeric_limits<float>::infinity());
    }
}

template <class Arch>
void apply(const ColumnSums& e, const Tile<Arch>& t) {
    const KeyBlock& keys = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r)
        simd::add_row<Arch>(e.sums + t.row(r).head * e.keys + keys.begin, t.raw().s + r * t.raw().stride, keys.count,
                            1.f);
}

template <class Arch>
void apply(const LastRows& e, const Tile<Arch>& t) {
    const KeyBlock& keys = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const std::int64_t i = t.row(r).index - (e.queries - e.count);
        if (i >= 0)
            std::copy_n(t.raw().s + r * t.raw().stride, keys.count,
                        e.weights + (t.row(r).head * e.count + i) * e.keys + keys.begin);
    }
}

template <class Arch, class Edit>
void run(const void* parameters, ScoreTile& tile) {
    apply<Arch>(*static_cast<const Edit*>(parameters), Tile<Arch>(tile));
}

}  // namespace edits

ATTENTA_END
