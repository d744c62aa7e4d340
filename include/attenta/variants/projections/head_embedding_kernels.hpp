#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// y = x + e, or x (1 + e); y may be x.
using EmbedRow = void (*)(const float* x, const float* e, std::int64_t n, float* y);
ATTENTA_DECLARE_KERNEL(EmbedRow, add_embedding)
ATTENTA_DECLARE_KERNEL(EmbedRow, multiply_embedding)

/// x · y
using EmbeddingProduct = float (*)(const float* x, const float* y, std::int64_t n);
ATTENTA_DECLARE_KERNEL(EmbeddingProduct, embedding_product)

}  // namespace detail

ATTENTA_END
