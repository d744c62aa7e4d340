#pragma once

#include <attenta/linear/recurrent/mesa_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// The largest |x|, 0 where all are NaN.
template <class Arch>
float largest_number(const float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    B top(0.f);
    simd::for_vectors<Arch>(n, [&](auto load, auto) ATTENTA_FLATTEN {
        const B v = load(x), size = xsimd::select(v < B(0.f), B(0.f) - v, v);
        top = xsimd::select(size > top, size, top);
    });
    return simd::reduce_max<Arch>(top);
}

/// Rows are divided by their largest number first: squares then neither overflow nor vanish.
template <class Arch>
void mesa_begin(const MesaSystems& s) {
    using B = simd::Batch<Arch>;
    constexpr float tolerance = 1e-7f;
    for (std::int64_t i = 0; i < s.rows; ++i) {
        float *const residual = s.residual + i * s.dim, *const direction = s.direction + i * s.dim;
        const float* const inverse = s.inverse + i % s.tokens * s.dim;
        const float top = largest_number<Arch>(residual, s.dim);
        s.unit[i] = top > 0 ? top : 1.f;
        B squares(0.f), size(0.f);
        simd::for_vectors<Arch>(s.dim, [&, unit = B(s.unit[i])](auto load, auto store) ATTENTA_FLATTEN {
            const B r = simd::divide<Arch>(load(residual), unit), p = r * load(inverse);
            store(residual, r), store(direction, p), store(s.x + i * s.dim, B(0.f));
            squares = simd::fma<Arch>(r, r, squares);
            size = simd::fma<Arch>(r, p, size);
        });
        const float all = simd::reduce_add<Arch>(squares);
        s.limit[i] = tolerance * tolerance * all;
        s.size[i] = all == 0.f ? -1.f : simd::reduce_add<Arch>(size);
    }
}

template <class Arch>
void mesa_regularize(const MesaSystems& s) {
    using B = simd::Batch<Arch>;
    for (std::int64_t i = 0; i < s.rows; ++i) {
        float* const product = s.product + i * s.dim;
        const float* const p = s.direction + i * s.dim;
        simd::for_vectors<Arch>(s.dim, [&, decay = B(s.decay[i % s.tokens])](auto load, auto store) ATTENTA_FLATTEN {
            store(product, simd::fma<Arch>(load(s.ridge), load(p), decay * load(product)));
        });
    }
}

/// One row's step; whether it is solved, which NaN also ends.
template <class Arch>
bool step_row(const MesaSystems& s, std::int64_t i) {
    using B = simd::Batch<Arch>;
    float *const x = s.x + i * s.dim, *const residual = s.residual + i * s.dim, *const p = s.direction + i * s.dim;
    const float *const product = s.product + i * s.dim, *const inverse = s.inverse + i % s.tokens * s.dim;
    const float curvature = simd::sum_products<Arch>(p, product, s.dim);
    if (curvature <= 0.f) return true;
    const B along(s.size[i] / curvature);
    B squares(0.f), size(0.f);
    simd::for_vectors<Arch>(s.dim, [&](auto load, auto store) ATTENTA_FLATTEN {
        const B r = load(residual) - along * load(product);
        store(x, simd::fma<Arch>(along, load(p), load(x)));
        store(residual, r);
        squares = simd::fma<Arch>(r, r, squares);
        size = simd::fma<Arch>(r * r, load(inverse), size);
    });
    const float next = simd::reduce_add<Arch>(size);
    if (!(simd::reduce_add<Arch>(squares) > s.limit[i])) return true;
    simd::for_vectors<Arch>(s.dim, [&, kept = B(next / s.size[i])](auto load, auto store) ATTENTA_FLATTEN {
        store(p, simd::fma<Arch>(load(residual), load(inverse), kept * load(p)));
    });
    s.size[i] = next;
    return false;
}

template <class Arch>
std::int64_t mesa_step(const MesaSystems& s) {
    std::int64_t left = 0;
    for (std::int64_t i = 0; i < s.rows; ++i) {
        if (s.size[i] < 0) continue;
        if (step_row<Arch>(s, i)) {
            s.size[i] = -1;
            std::fill_n(s.direction + i * s.dim, s.dim, 0.f);
        } else {
            ++left;
        }
    }
    return left;
}

template <class Arch>
void mesa_diagonals(const MesaDiagonals& d) {
    using B = simd::Batch<Arch>;
    for (std::int64_t t = 0; t < d.n; ++t) {
        const float* const k = d.k + t * d.k_stride;
        float* const inverse = d.inverse + t * d.dim;
        simd::for_vectors<Arch>(
            d.dim, [&, decay = B(d.decay[t]), beta = B(d.beta[t])](auto load, auto store) ATTENTA_FLATTEN {
                const B key = load(k), now = simd::fma<Arch>(beta * key, key, decay * load(d.diagonal));
                store(d.diagonal, now);
                const B sum = now + load(d.ridge);  // 0 in lanes behind the row alone
                store(inverse, simd::divide<Arch>(B(1.f), xsimd::select(sum == B(0.f), B(1.f), sum)));
            });
    }
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(MesaBegin, mesa_begin, &kernels::mesa_begin<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MesaRegularize, mesa_regularize, &kernels::mesa_regularize<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MesaStep, mesa_step, &kernels::mesa_step<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MesaDiagonalFunction, mesa_diagonals, &kernels::mesa_diagonals<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
