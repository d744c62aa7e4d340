// Sums of products of rows: what mechanisms add to or make of outputs.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// factor · x · a · b, element by element; a and b may be null.
struct RowProduct {
    const float* x = nullptr;
    const float *a = nullptr, *b = nullptr;
    float factor = 1;
};
/// o = the sum of `count` products, in their order. o may be one of their rows.
using SumOfProducts = void (*)(const RowProduct* products, std::int64_t count, float* o, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SumOfProducts, sum_of_products)

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/row_sums.inl>
#endif
