// attenta's own score edits and observers, on SIMD batches.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/observers.hpp>

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
    t.map([&](B s, const TileRow& row, B distance) { return s - B(e.slopes[row.head]) * xsimd::abs(distance); });
}

template <class Arch>
void apply(const Bias& e, const Tile<Arch>& t) {
    const KeyBlock& keys = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r)
        simd::add_row<Arch>(t.raw().s + r * t.raw().stride, e.bias.row(t.row(r).head, t.row(r).index) + keys.begin,
                            keys.count, 1.f);
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
