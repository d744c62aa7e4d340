#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/exact_dot.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
void project_row(const float* x, std::int64_t dim, const float* basis, std::int64_t stride, std::int64_t width,
                 float* to) {
    std::fill_n(to, width, 0.f);
    for (std::int64_t c = 0; c < dim; ++c) simd::add_row<Arch>(to, basis + c * stride, width, x[c]);
}

template <class Arch>
void add_weights(const float* s, std::int64_t n, const RowStatistics& row, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const B max(row.max), factor(row.output_factor());
    const auto weights = [&](B x, B before) {
        return simd::fma<Arch>(simd::exp_weight<Arch>(x - max), factor, before);
    };
    std::int64_t i = 0;
    for (; i + L <= n; i += L) weights(simd::load<Arch>(s + i), simd::load<Arch>(to + i)).store_unaligned(to + i);
    if (i < n)
        simd::store_part<Arch>(
            to + i, weights(simd::load_part<Arch>(s + i, n - i), simd::load_part<Arch>(to + i, n - i)), n - i);
}

template <class Arch>
void exact_dots(const float* x, std::int64_t dim, const std::byte* rows, Dtype dtype, const std::int32_t* keys,
                std::int64_t count, double* to) {
    simd::with_type(dtype, [&]<class T>(const T*) {
        const T* const first = reinterpret_cast<const T*>(rows);
        for (std::int64_t i = 0; i < count; ++i) {
            // Rows lie anywhere, the hardware does not guess where.
            if (i + 2 < count) simd::prefetch_row<simd::Level::l1>(first + keys[i + 2] * dim, dim);
            to[i] = simd::exact_dot<Arch>(x, first + keys[i] * dim, dim);
        }
    });
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(ProjectRow, project_row, &kernels::project_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddWeights, add_weights, &kernels::add_weights<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ExactDots, exact_dots, &kernels::exact_dots<simd::NativeArch>)

namespace edits {

template <class Arch>
void FactoredSums::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r)
        simd::add_row<Arch>(sums + t.row(r).head * keys + block.begin, t.raw().s + r * t.raw().stride, block.count,
                            factor[t.row(r).index]);
}

template <class Arch>
void ScoresByKey::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        float* const to = scores + t.row(r).head * keys;
        const float* const s = t.raw().s + r * t.raw().stride;
        for (std::int64_t i = 0; i < block.count; ++i) to[block.position(i)] = s[i];
    }
}

template <class Arch>
void GroupMaps::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    // A block may begin before the map and end behind it.
    const std::int64_t begin = std::max(block.begin, first), end = std::min(block.begin + block.count, first + width);
    for (std::int64_t r = 0; r < t.rows() && begin < end; ++r)
        simd::add_row<Arch>(map + (t.row(r).head / group * width + t.row(r).index) * width + begin - first,
                            t.raw().s + r * t.raw().stride + begin - block.begin, end - begin, 1.f);
}

ATTENTA_DEFINE_EDIT(FactoredSums)
ATTENTA_DEFINE_EDIT(GroupMaps)
ATTENTA_DEFINE_EDIT(ScoresByKey)

}  // namespace edits

ATTENTA_END
