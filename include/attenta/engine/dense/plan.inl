#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/kernels.hpp>
#include <attenta/engine/dense/pieces.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace dense {

namespace detail {

inline std::string shape(const Matrices<const float>& x) { return checks::shape(x.heads, x.rows, x.cols); }

/// A matrix that is read: as many heads as divide `heads`, and data where it has elements.
inline void check_factor(const char* name, const Matrices<const float>& x, std::int64_t heads) {
    const char* f = "dense::multiply";
    if (x.heads < 1 || x.rows < 0 || x.cols < 0 || heads % x.heads != 0)
        fail(f, std::string(name) + " is " + shape(x) + ", its heads need to divide the " + std::to_string(heads) +
                    " of c");
    checks::check_pointer(f, name, x.data, sizeof(float), x.rows > 0 && x.cols > 0);
    checks::check_extent(f, name, bytes_of(x, sizeof(float)));
}

inline void check(const Matrices<const float>& a, const Matrices<const float>& b, const Matrices<float>& c,
                  const ProductOptions& options) {
    const char* f = "dense::multiply";
    const Matrices<const float> out{c.data, c.heads, c.rows, c.cols, c.row_stride, c.head_stride};
    if (c.heads < 1 || c.rows < 0 || c.cols < 0) fail(f, "c is " + shape(out) + ", needs sizes from 0 up and a head");
    check_factor("a", a, c.heads);
    check_factor("b", b, c.heads);
    const auto [m, k] = options.a_transposed ? std::pair(a.cols, a.rows) : std::pair(a.rows, a.cols);
    const auto [b_k, n] = options.b_transposed ? std::pair(b.cols, b.rows) : std::pair(b.rows, b.cols);
    if (k != b_k)
        fail(f, "b is " + shape(b) + ", needs " + std::to_string(k) + (options.b_transposed ? " columns" : " rows") +
                    " to follow a, " + shape(a));
    if (c.rows != m || c.cols != n) fail(f, "c is " + shape(out) + ", needs " + checks::shape(c.heads, m, n));
    checks::check_output(f, c.heads, c.rows, c.cols, {c.data, c.heads, c.rows, c.cols, c.head_stride, c.row_stride},
                         "c");
    checks::check_pointer(f, "c", c.data, sizeof(float), m > 0 && n > 0);
    const Bytes bytes = bytes_of(c, sizeof(float));
    checks::check_extent(f, "c", bytes);
    const NamedBytes inputs[] = {{"a", bytes_of(a, sizeof(float))}, {"b", bytes_of(b, sizeof(float))}};
    checks::check_apart(f, "c", bytes, inputs);
}

}  // namespace detail

ATTENTA_INLINE void multiply(Matrices<const float> a, Matrices<const float> b, Matrices<float> c,
                             const ProductOptions& options, Context& context, BlockRef finish) {
    detail::check(a, b, c, options);
    if (c.rows == 0 || c.cols == 0) return;
    Product whole{.m = c.rows, .n = c.cols, .k = options.a_transposed ? a.rows : a.cols};
    whole.a_stride = a.row_stride, whole.b_stride = b.row_stride, whole.c_stride = c.row_stride;
    whole.a_transposed = options.a_transposed, whole.b_transposed = options.b_transposed;
    whole.add = options.add, whole.alpha = options.alpha;
    const std::int64_t bytes = product_scratch_bytes(), pieces = Pieces(whole).count();
    std::byte* const memory =
        context.workspace().reserve(static_cast<std::size_t>(context.executor().concurrency() * bytes));
    const ProductFunction product = dense_product();
    run_tasks(context.executor(), c.heads * pieces, [&](std::int64_t i, int slot) {
        const std::int64_t head = i / pieces;
        Product of_head = whole;
        of_head.a = a.data + head / (c.heads / a.heads) * a.head_stride;
        of_head.b = b.data + head / (c.heads / b.heads) * b.head_stride;
        of_head.c = c.data + head * c.head_stride;
        const Pieces all(of_head);
        const Product piece = all[i % pieces];
        product(piece, memory + slot * bytes);
        finish({head, all.row(i % pieces), all.column(i % pieces), piece.m, piece.n});
    });
}

ATTENTA_INLINE void multiply(Matrices<const float> a, Matrices<const float> b, Matrices<float> c,
                             const ProductOptions& options, Context& context) {
    multiply(a, b, c, options, context, [](const ProductBlock&) {});
}

}  // namespace dense

ATTENTA_END
