#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/gather.hpp>
#include <attenta/variants/structured/sdm_kernels.hpp>

#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
float count_ones(const float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float others = simd::sum_row<Arch>(
        x, n, [](B v) ATTENTA_FLATTEN { return xsimd::select(v == B(0.f) || v == B(1.f), B(0.f), B(1.f)); });
    return others == 0 ? simd::sum_row<Arch>(x, n, [](B v) ATTENTA_FLATTEN { return v; }) : -1.f;
}

/// The integer below x, 0 <= x < 2^22, and the same as an index.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> floor_of(simd::Batch<Arch> x, simd::IntBatch<Arch>& index) {
    using B = simd::Batch<Arch>;
    constexpr float magic = 0x1p23f;
    const B rounded = (x + B(magic)) - B(magic), below = xsimd::select(rounded > x, rounded - B(1.f), rounded);
    index = simd::bits_of<Arch>(below + B(magic)) & 0x7fffff;
    return below;
}

/// Lanes of x; 0 in place of NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> number_or_zero(simd::Batch<Arch> x) {
    return xsimd::select(x == x, x, simd::Batch<Arch>(0.f));
}

template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> clamp(simd::Batch<Arch> x, float low, float high) {
    using B = simd::Batch<Arch>;
    return simd::min<Arch>(B(high), simd::max<Arch>(B(low), x));
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(CountOnes, count_ones, &kernels::count_ones<simd::NativeArch>)

template <class Arch>
void HammingWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const B of_query(ones_q[row.head * queries + row.index]);
        const float* const of_keys = ones_k + row.head / group * keys + block.begin;
        float* const s = t.raw().s + r * t.raw().stride;
        for (std::int64_t i = 0; i < block.count; i += simd::lanes<Arch>) {
            const B product = simd::load<Arch>(s + i),
                    distance = of_query + simd::load<Arch>(of_keys + i) - (product + product);
            simd::IntBatch<Arch> index;
            // What stands behind the last key is any number.
            kernels::floor_of<Arch>(kernels::clamp<Arch>(kernels::number_or_zero<Arch>(distance), 0.f, n), index);
            simd::gather<Arch>(log_weights, index).store_unaligned(s + i);
        }
    }
}

template <class Arch>
void BinnedWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    t.map([&](B cosine) ATTENTA_FLATTEN {
        const B c = kernels::clamp<Arch>(kernels::number_or_zero<Arch>(cosine), -1.f, 1.f);
        simd::IntBatch<Arch> index;
        kernels::floor_of<Arch>(B(n) * ((B(1.f) - c) * B(0.5f)), index);
        return xsimd::select(cosine == cosine, simd::gather<Arch>(log_weights, index), cosine);
    });
}

template <class Arch>
void CapWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const B nothing(-std::numeric_limits<float>::infinity());
    t.map([&](B cosine) ATTENTA_FLATTEN {
        const B c = kernels::clamp<Arch>(kernels::number_or_zero<Arch>(cosine), -1.f, 1.f);
        const B share = simd::divide<Arch>(xsimd::sqrt((B(1.f) - c) * B(0.5f)), B(reach));
        const B inside = simd::min<Arch>(B(0x1.fffffep-1f), share), place = inside * B(pieces);
        simd::IntBatch<Arch> index;
        const B f = place - kernels::floor_of<Arch>(simd::min<Arch>(B(pieces - 1.f), place), index);
        const auto first = index << 2;
        B y = simd::gather<Arch>(coefficients + 3, first);
        for (int i = 2; i >= 0; --i) y = simd::fma<Arch>(y, f, simd::gather<Arch>(coefficients + i, first));
        y = simd::fma<Arch>(B(power), simd::log_with_complement<Arch>(B(1.f) - inside, inside), y);
        return xsimd::select(cosine == cosine, xsimd::select(share < B(1.f), y, nothing), cosine);
    });
}

ATTENTA_DEFINE_EDIT(HammingWeights)
ATTENTA_DEFINE_EDIT(BinnedWeights)
ATTENTA_DEFINE_EDIT(CapWeights)

}  // namespace structured

ATTENTA_END
