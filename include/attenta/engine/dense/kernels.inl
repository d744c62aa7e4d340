#pragma once

#include <attenta/engine/dense/kernels.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/register_tile.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace dense::kernels {

/// Many rows: panels of A and B, `depth` steps of the product at a time, through the register tile.
template <class Arch>
class Panels {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr int rows = simd::TileShape<Arch>::rows, vectors = simd::TileShape<Arch>::vectors;
    static constexpr std::int64_t width = vectors * L;
    static_assert(rows <= ProductScratch::tile_rows && width <= ProductScratch::tile_columns &&
                  L <= ProductScratch::most_lanes);

public:
    Panels(const Product& product, ProductScratch& scratch) : p_(product), x_(scratch) {}

    void run() {
        if (p_.k == 0 && !p_.add)
            for (std::int64_t m = 0; m < p_.m; ++m) std::fill_n(p_.c + m * p_.c_stride, p_.n, 0.f);
        for (std::int64_t k = 0; k < p_.k; k += ProductScratch::depth) {
            first_ = k;
            depth_ = std::min(ProductScratch::depth, p_.k - k);
            pack_a();
            pack_b();
            for (std::int64_t column = 0; column < p_.n; column += width)
                for (std::int64_t row = 0; row < p_.m; row += rows) tile(row, column);
        }
    }

private:
    /// Rows behind the last repeat it.
    void pack_a() {
        for (std::int64_t m = 0; m < p_.m; m += rows) {
            float* const to = x_.a + m * depth_;
            if (p_.a_transposed) {
                pack_columns(m, to);
                continue;
            }
            const float* of[rows];
            for (int r = 0; r < rows; ++r) of[r] = p_.a + std::min(m + r, p_.m - 1) * p_.a_stride + first_;
            simd::pack_queries<Arch, rows>(of, depth_, p_.alpha, to);
        }
    }
    /// Column m and those behind it of what stores A's columns as rows. What is written behind the tile's rows is overwritten
    /// by the next step.
    void pack_columns(std::int64_t m, float* to) const {
        const simd::Batch<Arch> alpha(p_.alpha);
        const std::int64_t count = std::min<std::int64_t>(rows, p_.m - m);
        for (std::int64_t k = 0; k < depth_; ++k) {
            const float* const from = p_.a + (first_ + k) * p_.a_stride + m;
            for (std::int64_t r = 0; r < rows; r += L) {
                const std::int64_t here = std::clamp<std::int64_t>(count - r, 0, L);
                const auto v = here == L  ? simd::load<Arch>(from + r)
                               : here > 0 ? simd::load_part<Arch>(from + r, here)
                                          : simd::Batch<Arch>(0.f);
                (v * alpha).store_unaligned(to + k * rows + r);
            }
        }
    }

    void pack_b() {
        const std::int64_t stored = p_.b_transposed ? p_.n : depth_;
        const float* const from = p_.b_transposed ? p_.b + first_ : p_.b + first_ * p_.b_stride;
        for (std::int64_t i = 0; i < stored; ++i)
            x_.rows[i] = reinterpret_cast<const std::byte*>(from + i * p_.b_stride);
        if (p_.b_transposed)
            simd::pack_keys<Arch, vectors, float>(x_.rows, 0, p_.n, depth_, x_.b);
        else
            simd::pack_values<Arch, vectors, float>(x_.rows, 0, depth_, depth_, p_.n, x_.b);
    }

    void tile(std::int64_t row, std::int64_t column) {
        const std::int64_t left = p_.n - column, needed = std::min(width, (left + L - 1) / L * L),
                           panel = p_.b_transposed ? width : needed;
        const float *const a = x_.a + row * depth_, *const b = x_.b + column * depth_;
        if (needed == width) return multiply<vectors>(row, column, a, b, panel);
        for (std::int64_t n = 0; n < needed; n += L) multiply<1>(row, column + n, a, b + n, panel);
    }

    template <int V>
    void multiply(std::int64_t row, std::int64_t column, const float* a, const float* b, std::int64_t b_stride) {
        const std::int64_t m = std::min<std::int64_t>(rows, p_.m - row), n = std::min(V * L, p_.n - column);
        float* const c = p_.c + row * p_.c_stride + column;
        const bool whole = m == rows && n == V * L, sums = first_ > 0 || p_.add;
        float* const to = whole ? c : x_.tile;
        const std::int64_t stride = whole ? p_.c_stride : ProductScratch::tile_columns;
        if (!whole && sums)
            for (std::int64_t r = 0; r < m; ++r) std::copy_n(c + r * p_.c_stride, n, to + r * stride);
        simd::RegisterTile<Arch, rows, V> sum;
        if (sums)
            sum.load(to, stride);
        else
            sum.zero();
        sum.template add<1>(a, rows, b, b_stride, depth_);
        sum.store(to, stride);
        if (!whole)
            for (std::int64_t r = 0; r < m; ++r) std::copy_n(to + r * stride, n, c + r * p_.c_stride);
    }

    const Product& p_;
    ProductScratch& x_;
    std::int64_t first_ = 0, depth_ = 0;
};

/// M rows of C from the rows of B, each read once.
template <class Arch, int M>
void few_rows(const Product& p, ProductScratch& x) {
    constexpr std::int64_t L = simd::lanes<Arch>, together = 4;
    const std::int64_t a_row = p.a_transposed ? 1 : p.a_stride, a_step = p.a_transposed ? p.a_stride : 1;
    const auto c_of = [&](int r) { return x.few + r * Product::few_columns; };
    for (int r = 0; r < M; ++r) {
        if (p.add)
            std::copy_n(p.c + r * p.c_stride, p.n, c_of(r));
        else
            std::fill_n(c_of(r), p.n, 0.f);
    }
    const auto add = [&]<int K>(std::int64_t k, std::integral_constant<int, K>) ATTENTA_FLATTEN {
        simd::Batch<Arch> weight[M][K];
        simd::unrolled<M>([&](auto r) ATTENTA_FLATTEN {
            simd::unrolled<K>([&](auto i) ATTENTA_FLATTEN {
                weight[r][i] = simd::Batch<Arch>(p.alpha * p.a[r * a_row + (k + i) * a_step]);
            });
        });
        const float* const b = p.b + k * p.b_stride;
        const auto columns = [&](auto&& load_b, auto&& load_c, auto&& store_c) ATTENTA_FLATTEN {
            simd::Batch<Arch> row[K];
            simd::unrolled<K>([&](auto i) ATTENTA_FLATTEN { row[i] = load_b(b + i * p.b_stride); });
            simd::unrolled<M>([&](auto r) ATTENTA_FLATTEN {
                simd::Batch<Arch> sum = load_c(c_of(r));
                simd::unrolled<K>([&](auto i) ATTENTA_FLATTEN { sum = simd::fma<Arch>(weight[r][i], row[i], sum); });
                store_c(c_of(r), sum);
            });
        };
        std::int64_t n = 0;
        for (; n + L <= p.n; n += L) {
            const auto load = [n](const float* from) ATTENTA_FLATTEN { return simd::load<Arch>(from + n); };
            columns(load, load, [n](float* to, simd::Batch<Arch> v) ATTENTA_FLATTEN { v.store_unaligned(to + n); });
        }
        if (n < p.n) {
            const auto load = [&](const float* from) { return simd::load_part<Arch>(from + n, p.n - n); };
            columns(load, load, [&](float* to, simd::Batch<Arch> v) { simd::store_part<Arch>(to + n, v, p.n - n); });
        }
    };
    std::int64_t k = 0;
    for (; k + together <= p.k; k += together) add(k, std::integral_constant<int, together>{});
    for (; k < p.k; ++k) add(k, std::integral_constant<int, 1>{});
    for (int r = 0; r < M; ++r) std::copy_n(c_of(r), p.n, p.c + r * p.c_stride);
}

/// M rows of C from a B that stores its columns as rows, each read once.
template <class Arch, int M>
void few_dots(const Product& p, ProductScratch& x) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    constexpr int together = M <= 2 ? 4 : 2;
    const auto dots = [&]<int N>(std::int64_t n, std::integral_constant<int, N>) ATTENTA_FLATTEN {
        B sum[M][N];
        simd::unrolled<M>(
            [&](auto r) ATTENTA_FLATTEN { simd::unrolled<N>([&](auto i) ATTENTA_FLATTEN { sum[r][i] = B(0.f); }); });
        const float* const b = p.b + n * p.b_stride;
        const auto step = [&](auto&& load) ATTENTA_FLATTEN {
            B row[N];
            simd::unrolled<N>([&](auto i) ATTENTA_FLATTEN { row[i] = load(b + i * p.b_stride); });
            simd::unrolled<M>([&](auto r) ATTENTA_FLATTEN {
                const B a = load(p.a + r * p.a_stride);
                simd::unrolled<N>([&](auto i) ATTENTA_FLATTEN { sum[r][i] = simd::fma<Arch>(a, row[i], sum[r][i]); });
            });
        };
        std::int64_t k = 0;
        for (; k + L <= p.k; k += L)
            step([k](const float* from) ATTENTA_FLATTEN { return simd::load<Arch>(from + k); });
        if (k < p.k) step([&](const float* from) { return simd::load_part<Arch>(from + k, p.k - k); });
        for (int r = 0; r < M; ++r)
            for (int i = 0; i < N; ++i) x.few[r * N + i] = p.alpha * simd::reduce_add<Arch>(sum[r][i]);
        for (int r = 0; r < M; ++r)
            for (int i = 0; i < N; ++i) {
                float& c = p.c[r * p.c_stride + n + i];
                c = p.add ? c + x.few[r * N + i] : x.few[r * N + i];
            }
    };
    std::int64_t n = 0;
    for (; n + together <= p.n; n += together) dots(n, std::integral_constant<int, together>{});
    for (; n < p.n; ++n) dots(n, std::integral_constant<int, 1>{});
}

template <class Arch, int M>
void few(const Product& p, ProductScratch& x) {
    if (p.b_transposed)
        few_dots<Arch, M>(p, x);
    else
        few_rows<Arch, M>(p, x);
}

template <class Arch>
void product(const Product& p, std::byte* scratch) {
    Arena arena(scratch);
    ProductScratch x(arena);
    const bool reads_rows = !(p.a_transposed && p.b_transposed);
    if (p.m == 1 && reads_rows) return few<Arch, 1>(p, x);
    if (p.m == 2 && reads_rows) return few<Arch, 2>(p, x);
    if (p.m == 3 && reads_rows) return few<Arch, 3>(p, x);
    if (p.m == 4 && reads_rows) return few<Arch, 4>(p, x);
    Panels<Arch>(p, x).run();
}

}  // namespace dense::kernels

namespace dense {

ATTENTA_DEFINE_KERNEL(dense::ProductFunction, dense_product, &dense::kernels::product<simd::NativeArch>)

}  // namespace dense

ATTENTA_END
