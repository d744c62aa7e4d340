#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/variants/scores/combined.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace edits {

/// |x − y_u|₁ of a row and a vector of rows.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> distances_of(
    const float* x, const float* const (&y)[static_cast<std::size_t>(simd::lanes<Arch>)], std::int64_t dim) {
    using B = simd::Batch<Arch>;
    constexpr int L = static_cast<int>(simd::lanes<Arch>);
    B part[static_cast<std::size_t>(L)];
    simd::unrolled<L>([&](auto u) ATTENTA_FLATTEN { part[u] = B(0.f); });
    std::int64_t c = 0;
    for (; c + L <= dim; c += L) {
        const B own = simd::load<Arch>(x + c);
        simd::unrolled<L>([&](auto u)
                              ATTENTA_FLATTEN { part[u] = part[u] + xsimd::abs(own - simd::load<Arch>(y[u] + c)); });
    }
    if (c < dim) {
        const B own = simd::load_part<Arch>(x + c, dim - c);
        for (int u = 0; u < L; ++u) part[u] = part[u] + xsimd::abs(own - simd::load_part<Arch>(y[u] + c, dim - c));
    }
    return simd::reduce_rows<Arch>(part);
}

/// f(scores, −beta · distance) for all vectors of a tile.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_distances(const CombinedPairs& p, const Tile<Arch>& t, F&& f) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const KeyBlock& block = t.raw().keys;
    const B factor(-p.beta);
    for (std::int64_t j = 0; j < block.count; j += L) {
        const float* keys[static_cast<std::size_t>(L)];
        const std::int64_t head = t.row(0).head / p.group;  // a tile's rows are of one head of K
        for (std::int64_t u = 0; u < L; ++u) keys[u] = p.key.row(head, block.begin + std::min(j + u, block.count - 1));
        for (std::int64_t r = 0; r < t.rows(); ++r) {
            const QueryRow& row = t.row(r);
            float* const s = t.raw().s + r * t.raw().stride + j;
            const B n = distances_of<Arch>(p.query.row(row.head, row.index), keys, p.query.dim) * factor;
            f(simd::load<Arch>(s), n, row).store_unaligned(s);
        }
    }
}

template <class Arch>
void CombinedWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const CombinedPairs& p = *pairs;
    const B factor(p.factor);
    for_distances<Arch>(p, t, [&](B s, B n, const QueryRow& row) ATTENTA_FLATTEN {
        const B gate = simd::sigmoid<Arch>(p.centre ? n + B(p.centre[row.head]) : n);
        return simd::tanh<Arch>(s) * (gate * factor);
    });
}

template <class Arch>
void CombinedDistances::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    for_distances<Arch>(*pairs, t, [](B, B n, const QueryRow&) ATTENTA_FLATTEN { return n; });
}

ATTENTA_DEFINE_EDIT(CombinedWeights)
ATTENTA_DEFINE_EDIT(CombinedDistances)

}  // namespace edits

ATTENTA_END
