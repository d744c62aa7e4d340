#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/relative/relative_interaction_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace edits {

template <class Arch>
float triple_product(const float* a, const float* b, const float* c, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        sum = simd::fma<Arch>(simd::load<Arch>(a + i) * simd::load<Arch>(b + i), simd::load<Arch>(c + i), sum);
    if (i < n)
        sum = simd::fma<Arch>(simd::load_part<Arch>(a + i, n - i) * simd::load_part<Arch>(b + i, n - i),
                              simd::load_part<Arch>(c + i, n - i), sum);
    return simd::reduce_add<Arch>(sum);
}

template <class Arch>
void TripleProducts::operator()(Tile<Arch> t) const {
    const TripleFactors& x = *factors;
    const KeyBlock& block = t.raw().keys;
    const std::int64_t of_k = x.q.heads / x.k.heads, of_rel = x.q.heads / x.rel.heads;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const float* const q = x.q.row(row.head, row.index);
        float* const s = t.raw().s + r * t.raw().stride;
        for (std::int64_t i = 0; i < block.count; ++i) {
            const std::int64_t d =
                std::clamp<std::int64_t>(block.position(i) - row.position - x.first, 0, x.rel.tokens - 1);
            s[i] += x.scale * triple_product<Arch>(q, x.k.row(row.head / of_k, block.begin + i),
                                                   x.rel.row(row.head / of_rel, d), x.q.dim);
        }
    }
}

ATTENTA_DEFINE_EDIT(TripleProducts)

}  // namespace edits

ATTENTA_END
