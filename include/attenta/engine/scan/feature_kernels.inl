// The row maps on one instruction set. See features.hpp.
#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/scan/features.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace features {

namespace kernels {

template <class Arch>
float squares(const float* x, std::int64_t n) {
    return simd::sum_row<Arch>(x, n, [](simd::Batch<Arch> v) ATTENTA_FLATTEN { return v * v; });
}

template <class Arch>
float elu1(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, y, r.dim, [](B v) ATTENTA_FLATTEN {
        return xsimd::select(v > B(0.f), v + B(1.f), simd::exp_nonpositive<Arch>(simd::min<Arch>(B(0.f), v)));
    });
    return 0;
}

template <class Arch>
float relu(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, y, r.dim, [](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.f), v); });
    return 0;
}

template <class Arch>
float squared_relu(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, y, r.dim, [](B v) ATTENTA_FLATTEN {
        const B p = simd::max<Arch>(B(0.f), v);
        return p * p;
    });
    return 0;
}

/// y[i] = f(a[i], b[i])
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void map_rows(const float* a, const float* b, float* y, std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L) f(simd::load<Arch>(a + i), simd::load<Arch>(b + i)).store_unaligned(y + i);
    if (i < n)
        simd::store_part<Arch>(y + i, f(simd::load_part<Arch>(a + i, n - i), simd::load_part<Arch>(b + i, n - i)),
                               n - i);
}

template <class Arch>
float exp(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    constexpr float log2e = 1.44269504f;
    const Exp& p = *static_cast<const Exp*>(r.parameters);
    if (p.group == 0) {
        map_rows<Arch>(x, p.exponents + r.head * r.dim, y, r.dim,
                       [](B v, B n) ATTENTA_FLATTEN { return simd::scaled_exp<Arch>(v, n); });
        return 0;
    }
    const float* const exponents = p.exponents + r.head / p.group * r.dim;
    // Powers of two alone, so that the exponents of later keys change no bit; scaled_exp is exact enough to e^±500.
    const float top = simd::row_max<Arch>(x, r.dim), c = is_finite(top) && std::abs(top) > 500 ? top : 0.f,
                log = c * log2e;
    map_rows<Arch>(x, exponents, y, r.dim,
                   [c = B(c)](B v, B n) ATTENTA_FLATTEN { return simd::fma<Arch>(v - c, B(log2e), n); });
    const float highest = simd::row_max<Arch>(y, r.dim);
    const float own =
        is_finite(highest) ? std::clamp(std::floor(highest), std::ceil(p.least - log), std::floor(p.most - log)) : 0.f;
    map_rows<Arch>(x, exponents, y, r.dim, [c = B(c), own = B(own)](B v, B n) ATTENTA_FLATTEN {
        return simd::scaled_exp<Arch>(v - c, own - n);
    });
    return log + own;
}

template <class Arch>
float softmax(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, y, r.dim, [top = B(simd::row_max<Arch>(x, r.dim))](B v) ATTENTA_FLATTEN {
        return simd::exp_nonpositive<Arch>(v - top);
    });
    const float sum = simd::sum_row<Arch>(y, r.dim, [](B v) ATTENTA_FLATTEN { return v; });
    simd::scale_row<Arch>(y, r.dim, 1.f / sum);
    return 0;
}

template <class Arch>
float cos(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const Cos& p = *static_cast<const Cos*>(r.parameters);
    constexpr double half_pi = 1.57079632679489662;
    const double angle = half_pi * static_cast<double>(r.position + p.offset + 1) / static_cast<double>(p.length);
    const auto half = [&](float factor, float* to) {
        simd::map_row<Arch>(x, to, r.dim,
                            [f = B(factor)](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.f), v) * f; });
    };
    half(static_cast<float>(std::cos(angle)), y);
    half(static_cast<float>(std::sin(angle)), y + r.dim);
    return 0;
}

template <class Arch>
float l2_norm(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const float sum = squares<Arch>(x, r.dim) + static_cast<const L2Norm*>(r.parameters)->eps;
    simd::map_row<Arch>(x, y, r.dim, [f = B(1.f / std::sqrt(sum))](B v) ATTENTA_FLATTEN { return v * f; });
    return 0;
}

template <class Arch>
float rotate(const scan::FeatureRow& r, const float* x, float* y) {
    const Rotate& p = *static_cast<const Rotate*>(r.parameters);
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const B factor(p.factor);
    if (!p.near) {
        simd::map_row<Arch>(x, y, r.dim, [factor](B v) ATTENTA_FLATTEN { return v * factor; });
        return 0;
    }
    const float* const near = p.near + r.position % Rotate::period * r.dim;
    const float* const far = p.far + r.position / Rotate::period * r.dim;
    const auto turned = [factor](B v, B a, B b) ATTENTA_FLATTEN {
        return simd::complex_product<Arch>(simd::complex_product<Arch>(v, a), b) * factor;
    };
    std::int64_t d = 0;
    for (; d + L <= r.dim; d += L)
        turned(simd::load<Arch>(x + d), simd::load<Arch>(near + d), simd::load<Arch>(far + d)).store_unaligned(y + d);
    if (const std::int64_t n = r.dim - d; n > 0)
        simd::store_part<Arch>(y + d,
                               turned(simd::load_part<Arch>(x + d, n), simd::load_part<Arch>(near + d, n),
                                      simd::load_part<Arch>(far + d, n)),
                               n);
    return 0;
}

/// -expm1(x) for x <= 0: what a gate lets go.
template <class Arch>
float one_minus_exp(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    // The whole is 1 long before powers of x overflow.
    simd::map_row<Arch>(
        x, y, r.dim, [](B v) ATTENTA_FLATTEN { return -simd::expm1_nonpositive<Arch>(simd::max<Arch>(B(-88.f), v)); });
    return 0;
}

template <class Arch>
float shifted_exp(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const ShiftedExp& p = *static_cast<const ShiftedExp*>(r.parameters);
    const B gain(p.gain);
    if (p.shift == ShiftedExp::channel) {
        map_rows<Arch>(x, p.shifts + r.head * r.dim, y, r.dim,
                       [gain](B v, B shift) ATTENTA_FLATTEN { return simd::exp<Arch>(gain * v - shift); });
        return 0;
    }
    float shift = p.shift == ShiftedExp::head ? p.shifts[r.head] : 0.f;
    if (p.shift == ShiftedExp::row) {
        simd::map_row<Arch>(x, y, r.dim, [gain](B v) ATTENTA_FLATTEN { return gain * v; });
        shift = simd::row_max<Arch>(y, r.dim);
    }
    simd::map_row<Arch>(x, y, r.dim,
                        [gain, shift = B(shift)](B v) ATTENTA_FLATTEN { return simd::exp<Arch>(gain * v - shift); });
    return 0;
}

/// z of Products.
template <class Arch>
void standardize(const scan::FeatureRow& r, const float* x, float* z) {
    using B = simd::Batch<Arch>;
    const Products& p = *static_cast<const Products*>(r.parameters);
    const auto dim = static_cast<float>(r.dim);
    if (p.center) {
        map_rows<Arch>(x, p.center + r.head * r.dim, z, r.dim, [](B v, B c) ATTENTA_FLATTEN { return v - c; });
    } else {
        const float mean =
            p.center_row ? simd::sum_row<Arch>(x, r.dim, [](B v) ATTENTA_FLATTEN { return v; }) / dim : 0.f;
        simd::map_row<Arch>(x, z, r.dim, [mean = B(mean)](B v) ATTENTA_FLATTEN { return v - mean; });
    }
    if (p.scale) simd::scale_row<Arch>(z, r.dim, p.scale[r.head]);
    if (p.unit_variance) simd::scale_row<Arch>(z, r.dim, 1.f / std::sqrt(squares<Arch>(z, r.dim) / dim));
}

template <class Arch>
float standardized(const scan::FeatureRow& r, const float* x, float* z) {
    standardize<Arch>(r, x, z);
    return std::sqrt(squares<Arch>(z, r.dim));
}

template <class Arch>
float products(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const Products& p = *static_cast<const Products*>(r.parameters);
    const std::int64_t dim = r.dim;
    const auto factors = p.factors;  // copies: features that are written could be these numbers
    const float pairs = p.pairs;
    float* const z = y + 1;
    y[0] = factors[0];
    standardize<Arch>(r, x, z);
    // Backwards, in vectors that end where a row of products ends: they are the same vectors of z for all rows, and what they
    // write in front of a row is overwritten by the rows before it.
    float* to = y + r.features;
    for (std::int64_t a = p.degree == 2 ? dim : 0; a-- > 0;) {
        const float own = factors[2] * z[a], pair = own * pairs;
        to -= dim - a;
        std::int64_t b = dim;
        for (; b > a && b >= L; b -= L) (simd::load<Arch>(z + b - L) * B(pair)).store_unaligned(to + b - L - a);
        while (--b > a) to[b - a] = pair * z[b];
        *to = own * z[a];
    }
    simd::scale_row<Arch>(z, dim, factors[1]);
    return 0;
}

template <class Arch>
float silu(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, y, r.dim, [](B v) ATTENTA_FLATTEN { return v * simd::sigmoid<Arch>(v); });
    return 0;
}

/// y = x · factor less whole turns, -π to π: in double, for angles may be large. y may be x.
template <class Arch>
void reduce_angles(const float* x, double factor, float* y, std::int64_t n) {
    constexpr double turn = 6.283185307179586, magic = 0x1.8p52;  // x + magic has no digits behind the point
    for (std::int64_t i = 0; i < n; ++i) {
        const double angle = static_cast<double>(x[i]) * factor, turns = angle * (1 / turn) + magic - magic;
        y[i] = static_cast<float>(angle - turns * turn);
    }
}

/// A vector, or the `here` elements that there are.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> load_here(const float* x, std::int64_t here) {
    return here == simd::lanes<Arch> ? simd::load<Arch>(x) : simd::load_part<Arch>(x, here);
}
template <class Arch>
ATTENTA_ALWAYS_INLINE void store_here(float* y, simd::Batch<Arch> v, std::int64_t here) {
    here == simd::lanes<Arch> ? v.store_unaligned(y) : simd::store_part<Arch>(y, v, here);
}

/// f(i, here, sine, cosine) for the `here` angles from i on, a vector at most.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_angles(const float* angles, std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        simd::Batch<Arch> sine, cosine;
        simd::sin_cos<Arch>(load_here<Arch>(angles + i, here), sine, cosine);
        f(i, here, sine, cosine);
    }
}

template <class Arch>
float lrpe(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const Lrpe& p = *static_cast<const Lrpe*>(r.parameters);
    reduce_angles<Arch>(p.theta.row(r.state_head, 0), static_cast<double>(r.position + p.offset), y, r.dim);
    for_angles<Arch>(y, r.dim, [&](std::int64_t i, std::int64_t here, B sine, B cosine) ATTENTA_FLATTEN {
        B v = load_here<Arch>(x + i, here);
        if (p.silu) v = v * simd::sigmoid<Arch>(v);
        store_here<Arch>(y + i, v * cosine, here);
        store_here<Arch>(y + r.dim + i, v * sine, here);
    });
    return 0;
}

/// y_m = c/τ w_m·(sigma x) of `Rows` rows, `lanes` products at a time.
template <class Arch, int Rows>
void random_products(const scan::FeatureRows& r, const float* x, float* y, simd::BlockPrefetch& queue) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    constexpr int Features = static_cast<int>(L) / Rows;
    const Random& p = *static_cast<const Random*>(r.first.parameters);
    const std::int64_t dim = r.first.dim, stride = p.own_heads ? p.weight_stride : dim,
                       features = r.first.features / (p.kind == Random::trig ? 2 : 1);
    const float* const of_head = p.weights + r.first.head / p.group * p.head_stride;
    const float* const sigma = p.sigma.data ? p.sigma.row(r.first.head / p.group, 0) : nullptr;
    for (std::int64_t m = 0; m < features; m += Features) {
        const std::int64_t here = std::min<std::int64_t>(Features, features - m);
        const float* weights[Features];
        for (std::int64_t u = 0; u < Features; ++u) weights[u] = of_head + (m + std::min(u, here - 1)) * stride;
        B sum[static_cast<std::size_t>(L)];
        simd::unrolled<static_cast<int>(L)>([&](auto i) ATTENTA_FLATTEN { sum[i] = B(0.f); });
        const auto add = [&](std::int64_t d, auto&& read) ATTENTA_FLATTEN {
            queue.prefetch();
            B v[Rows];
            simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN { v[i] = read(x + i * r.x_stride + d); });
            if (sigma) simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN { v[i] = v[i] * read(sigma + d); });
            simd::unrolled<Features>([&](auto u) ATTENTA_FLATTEN {
                const B w = read(weights[u] + d);
                simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN {
                    sum[i * Features + u] = simd::fma<Arch>(w, v[i], sum[i * Features + u]);
                });
            });
        };
        std::int64_t d = 0;
        for (; d + L <= dim; d += L) add(d, [](const float* z) ATTENTA_FLATTEN { return simd::load<Arch>(z); });
        if (d < dim) add(d, [n = dim - d](const float* z) ATTENTA_FLATTEN { return simd::load_part<Arch>(z, n); });
        float product[static_cast<std::size_t>(L)];
        (simd::reduce_rows<Arch>(sum) * B(p.c / p.tau)).store_unaligned(product);
        for (std::int64_t i = 0; i < Rows; ++i) {
            if (here == Features)  // a copy of known size is no call
                std::copy_n(product + i * Features, Features, y + i * r.y_stride + m);
            else
                std::copy_n(product + i * Features, here, y + i * r.y_stride + m);
        }
    }
}

/// Features from products, in place.
template <class Arch>
void random_nonlinearity(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const Random& p = *static_cast<const Random*>(r.parameters);
    if (p.kind == Random::products) return;
    if (p.kind == Random::relu) {
        simd::map_row<Arch>(y, y, r.features,
                            [&](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.f), v * B(p.ratio)) + B(p.eps); });
        return;
    }
    const float ratio = p.of_tokens.data ? p.ratio * p.of_tokens.row(r.head, r.position)[0] : p.ratio;
    if (p.kind == Random::trig) {
        const std::int64_t half = r.features / 2;
        reduce_angles<Arch>(y, 1 / (std::sqrt(static_cast<double>(squares<Arch>(x, r.dim))) + 1e-3), y, half);
        for_angles<Arch>(y, half, [&](std::int64_t i, std::int64_t here, B sine, B cosine) ATTENTA_FLATTEN {
            store_here<Arch>(y + i, sine * B(ratio), here);
            store_here<Arch>(y + half + i, cosine * B(ratio), here);
        });
        return;
    }
    const float top = p.per_head ? p.per_head[r.head] : simd::row_max<Arch>(y, r.features);
    const float half = p.c * p.c / 2 * squares<Arch>(x, r.dim);
    simd::map_row<Arch>(y, y, r.features, [&](B v) ATTENTA_FLATTEN {
        return B(ratio) * (simd::exp<Arch>(v - B(half) - B(top)) + B(p.eps));
    });
}

/// Several rows at a time: the weights, which fill more than L1, are loaded once for all.
template <class Arch>
void random(const scan::FeatureRows& r, const float* x, float* y) {
    constexpr int lanes = simd::lanes<Arch>, many = std::min(lanes / 2, 4), few = lanes / 4;
    const FlushToZero flush;
    simd::BlockPrefetch queue(r.prefetch);
    scan::FeatureRows part = r;
    // Heads that have weights of their own go one by one.
    const bool own_weights = r.heads && static_cast<const Random*>(r.first.parameters)->own_heads;
    std::int64_t i = 0;
    for (; !own_weights && i + many <= r.count; i += many)
        random_products<Arch, many>(r, x + i * r.x_stride, y + i * r.y_stride, queue);
    for (; !own_weights && i + few <= r.count; i += few)
        random_products<Arch, few>(r, x + i * r.x_stride, y + i * r.y_stride, queue);
    for (; i < r.count; ++i) {
        if (own_weights) part.first.head = r.first.head + i;
        random_products<Arch, 1>(part, x + i * r.x_stride, y + i * r.y_stride, queue);
    }
    scan::FeatureRow row = r.first;
    for (i = 0; i < r.count; ++i) {
        random_nonlinearity<Arch>(row, x + i * r.x_stride, y + i * r.y_stride);
        ++(r.heads ? row.head : row.position);
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, elu1, &kernels::elu1<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, relu, &kernels::relu<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, squared_relu, &kernels::squared_relu<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, exp_features, &kernels::exp<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, softmax_features, &kernels::softmax<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, cos_features, &kernels::cos<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, l2_norm, &kernels::l2_norm<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, rotate, &kernels::rotate<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, one_minus_exp, &kernels::one_minus_exp<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, shifted_exp, &kernels::shifted_exp<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, product_features, &kernels::products<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, standardized, &kernels::standardized<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, silu, &kernels::silu<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, lrpe_features, &kernels::lrpe<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureRowsFunction, random_features, &kernels::random<simd::NativeArch>)

}  // namespace features

ATTENTA_END
