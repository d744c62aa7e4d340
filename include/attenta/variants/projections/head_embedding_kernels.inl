#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/projections/head_embedding_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void join_rows_by(const float* x, const float* e, std::int64_t n, float* y, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L) f(simd::load<Arch>(x + i), simd::load<Arch>(e + i)).store_unaligned(y + i);
    if (i < n)
        simd::store_part<Arch>(y + i, f(simd::load_part<Arch>(x + i, n - i), simd::load_part<Arch>(e + i, n - i)),
                               n - i);
}

template <class Arch>
void add_to_row(const float* x, const float* e, std::int64_t n, float* y) {
    using B = simd::Batch<Arch>;
    join_rows_by<Arch>(x, e, n, y, [](B a, B b) ATTENTA_FLATTEN { return a + b; });
}
template <class Arch>
void multiply_by_row(const float* x, const float* e, std::int64_t n, float* y) {
    using B = simd::Batch<Arch>;
    join_rows_by<Arch>(x, e, n, y, [](B a, B b) ATTENTA_FLATTEN { return a * (B(1.f) + b); });
}

ATTENTA_DEFINE_KERNEL(EmbedRow, add_embedding, &add_to_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(EmbedRow, multiply_embedding, &multiply_by_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(EmbeddingProduct, embedding_product, &simd::sum_products<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
