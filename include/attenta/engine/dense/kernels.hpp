// What products have compiled for each instruction set.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace dense {

/// A task: C [m, n] of one head, with what ProductOptions say.
struct Product {
    /// Of a task; with few rows B is read where it lies, in its order.
    static constexpr std::int64_t most_rows = 128, most_columns = 256, few_rows = 4, few_columns = 512;

    const float *a = nullptr, *b = nullptr;
    float* c = nullptr;
    std::int64_t m = 0, n = 0, k = 0;
    std::int64_t a_stride = 0, b_stride = 0, c_stride = 0;  ///< from row to row, as stored
    bool a_transposed = false, b_transposed = false, add = false;
    float alpha = 1;
};

struct ProductScratch {
    static constexpr std::int64_t depth = 256;  ///< of what is packed at a time
    static constexpr std::int64_t most_lanes = 16, tile_rows = 16, tile_columns = 64;

    const std::byte** rows;
    float *a, *b, *tile, *few;

    explicit ProductScratch(Arena& arena) {
        rows = arena.take<const std::byte*>(Product::most_columns > depth ? Product::most_columns : depth);
        a = arena.take<float>((Product::most_rows + tile_rows) * depth + most_lanes);
        b = arena.take<float>((Product::most_columns + tile_columns) * depth);
        tile = arena.take<float>(tile_rows * tile_columns);
        few = arena.take<float>(Product::few_rows * Product::few_columns);
    }
};

using ProductFunction = void (*)(const Product& product, std::byte* scratch);
ATTENTA_DECLARE_KERNEL(ProductFunction, dense_product)

}  // namespace dense

ATTENTA_END
