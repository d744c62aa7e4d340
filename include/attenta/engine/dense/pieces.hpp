// A product cut into pieces that the kernel takes, and products inside a task of somebody else.
#pragma once

#include <attenta/core/executor.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/dense/kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace dense {

/// Bytes of scratch that a piece needs.
inline std::int64_t product_scratch_bytes() {
    Arena arena(nullptr);
    ProductScratch{arena};
    return round_up(arena.used(), 64);
}

/// The pieces of a product of any size, which may run side by side: blocks of C.
class Pieces {
public:
    explicit Pieces(const Product& whole)
        : whole_(whole),
          columns_(whole.m <= Product::few_rows && !(whole.a_transposed && whole.b_transposed) ? Product::few_columns
                                                                                               : Product::most_columns),
          across_(ceil_div(whole.n, columns_)) {}

    std::int64_t count() const { return across_ * ceil_div(whole_.m, Product::most_rows); }
    /// Of C where a piece begins.
    std::int64_t row(std::int64_t i) const { return i / across_ * Product::most_rows; }
    std::int64_t column(std::int64_t i) const { return i % across_ * columns_; }
    Product operator[](std::int64_t i) const {
        Product p = whole_;
        p.a += row(i) * (p.a_transposed ? 1 : p.a_stride);
        p.b += column(i) * (p.b_transposed ? p.b_stride : 1);
        p.c += row(i) * p.c_stride + column(i);
        p.m = std::min(Product::most_rows, whole_.m - row(i));
        p.n = std::min(columns_, whole_.n - column(i));
        return p;
    }

private:
    Product whole_;
    std::int64_t columns_, across_;
};

/// Products of matrices whose sizes have been checked, one after the other, each shared among the executor's threads. `scratch`
/// holds product_scratch_bytes() for each slot.
class Products {
public:
    Products(Executor& executor, std::byte* scratch)
        : executor_(executor), scratch_(scratch), bytes_(product_scratch_bytes()) {}

    Executor& executor() const { return executor_; }
    void operator()(const Product& whole) const {
        const Pieces pieces(whole);
        executor_.parallel_for(pieces.count(),
                               [&](std::int64_t i, int slot) { product_(pieces[i], scratch_ + slot * bytes_); });
    }

private:
    Executor& executor_;
    std::byte* scratch_;
    std::int64_t bytes_;
    ProductFunction product_ = dense_product();
};

}  // namespace dense

ATTENTA_END
