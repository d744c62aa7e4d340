#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/recurrent/titans_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// erfc z for z >= 0 is t exp(−z² + polynomial of t), t = 1 / (1 + z/2), with a relative error below 1.2e-7 (Press et al.,
/// "Numerical Recipes", erfcc).
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> erfc_nonnegative(simd::Batch<Arch> z) {
    using B = simd::Batch<Arch>;
    const B t = simd::divide<Arch>(B(1.f), simd::fma<Arch>(B(0.5f), z, B(1.f)));
    B p(0.17087277f);
    for (const float c : {-0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f, -0.18628806f, 0.09678418f, 0.37409196f,
                          1.00002368f, -1.26551223f})
        p = simd::fma<Arch>(p, t, B(c));
    return t * simd::exp<Arch>(simd::fma<Arch>(B(0.f) - z, z, p));
}

/// x Φ(x) and its slope Φ(x) + x φ(x), Φ the distribution of a normal number.
template <class Arch>
struct Gelu {
    using B = simd::Batch<Arch>;
    static void both(B x, B& y, B& slope) {
        const B size = xsimd::select(x < B(0.f), B(0.f) - x, x), z = simd::min<Arch>(B(13.f), size * B(0.70710678f)),
                tail = B(0.5f) * erfc_nonnegative<Arch>(z), phi = xsimd::select(x < B(0.f), tail, B(1.f) - tail);
        y = x * phi;
        slope = simd::fma<Arch>(x * B(0.39894228f), simd::exp_nonpositive<Arch>((B(0.f) - z) * z), phi);
    }
};
template <class Arch>
struct Silu {
    using B = simd::Batch<Arch>;
    static void both(B x, B& y, B& slope) {
        const B s = simd::sigmoid<Arch>(x);
        y = x * s;
        slope = s * simd::fma<Arch>(x, B(1.f) - s, B(1.f));
    }
};
template <class Arch>
struct Relu {
    using B = simd::Batch<Arch>;
    static void both(B x, B& y, B& slope) {
        y = simd::max<Arch>(B(0.f), x);
        slope = xsimd::select(x > B(0.f), B(1.f), B(0.f));
    }
};

template <class Arch, class F>
void activate_row(const float* x, std::int64_t n, float* y, float* slope) {
    using B = simd::Batch<Arch>;
    simd::for_vectors<Arch>(n, [&](auto load, auto store) ATTENTA_FLATTEN {
        B value, rise;
        F::both(load(x), value, rise);
        store(y, value);
        if (slope) store(slope, rise);
    });
}

template <class Arch>
void titans_activate(TitansActivation activation, const float* x, std::int64_t n, float* y, float* slope) {
    if (activation == TitansActivation::gelu) return activate_row<Arch, Gelu<Arch>>(x, n, y, slope);
    if (activation == TitansActivation::silu) return activate_row<Arch, Silu<Arch>>(x, n, y, slope);
    activate_row<Arch, Relu<Arch>>(x, n, y, slope);
}

/// z = (y − mean) / s; returns 1 / s.
template <class Arch>
float normalize(const float* y, float* z, std::int64_t dim, float eps) {
    using B = simd::Batch<Arch>;
    const auto n = static_cast<float>(dim);
    const float mean = simd::sum_row<Arch>(y, dim, [](B v) ATTENTA_FLATTEN { return v; }) / n;
    simd::map_row<Arch>(y, z, dim, [m = B(mean)](B v) ATTENTA_FLATTEN { return v - m; });
    const float variance = simd::sum_row<Arch>(z, dim, [](B v) ATTENTA_FLATTEN { return v * v; }) / n,
                inverse = 1.f / std::sqrt(variance + eps);
    simd::scale_row<Arch>(z, dim, inverse);
    return inverse;
}

template <class Arch>
void titans_output(const TitansWrap& wrap, const float* y, const float* x, float* z, std::int64_t dim) {
    if (wrap.norm == TitansNorm::layer)
        normalize<Arch>(y, z, dim, wrap.eps);
    else if (z != y)
        std::copy_n(y, dim, z);
    if (wrap.residual) simd::add_row<Arch>(z, x, dim, 1.f);
}

template <class Arch>
void titans_error(const TitansWrap& wrap, float* y, const float* x, const float* v, std::int64_t dim) {
    using B = simd::Batch<Arch>;
    const bool norm = wrap.norm == TitansNorm::layer;
    const float inverse = norm ? normalize<Arch>(y, y, dim, wrap.eps) : 1.f;
    float sum = 0, along = 0;
    B sums(0.f), products(0.f);
    const auto error = [&, factor = B(2.f * wrap.loss_scale)](auto load, B z)
                           ATTENTA_FLATTEN { return factor * ((wrap.residual ? z + load(x) : z) - load(v)); };
    if (norm) {
        simd::for_vectors<Arch>(dim, [&](auto load, auto) ATTENTA_FLATTEN {
            const B z = load(y), e = error(load, z);
            sums = sums + e;
            products = simd::fma<Arch>(e, z, products);
        });
        sum = simd::reduce_add<Arch>(sums) / static_cast<float>(dim);
        along = simd::reduce_add<Arch>(products) / static_cast<float>(dim);
    }
    simd::for_vectors<Arch>(dim, [&](auto load, auto store) ATTENTA_FLATTEN {
        const B z = load(y), e = error(load, z);
        store(y, norm ? (e - B(sum) - z * B(along)) * B(inverse) : e);
    });
}

template <class Arch>
void titans_decay(const TitansDecay& d) {
    using B = simd::Batch<Arch>;
    const B b(d.b), f(d.f), m(d.m);
    simd::for_vectors<Arch>(d.n, [&](auto load, auto store) ATTENTA_FLATTEN {
        const B z = load(d.z);
        store(d.w, simd::fma<Arch>(f, z, b * load(d.w)));
        store(d.z, m * z);
    });
}

/// Rows d .. d + Rows − 1.
template <class Arch, int Rows, bool reads>
void step_rows(const TitansStep& s, std::int64_t d) {
    using B = simd::Batch<Arch>;
    B l[Rows], q[Rows];
    simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN {
        l[i] = B(-s.theta * s.l[d + i]);
        q[i] = B(reads ? s.q[d + i] : 0.f);
    });
    simd::for_vectors<Arch>(s.columns, [&, eta = B(s.eta), keep = B(s.keep)](auto load, auto store) ATTENTA_FLATTEN {
        const B r = load(s.r);
        B sum = reads ? load(s.o) : B(0.f);
        simd::unrolled<Rows>([&](auto i) ATTENTA_FLATTEN {
            float *const at_w = s.w + (d + i) * s.stride, *const at_z = s.z + (d + i) * s.stride;
            const B z = simd::fma<Arch>(l[i], r, eta * load(at_z)), w = simd::fma<Arch>(keep, load(at_w), z);
            store(at_z, z), store(at_w, w);
            if constexpr (reads) sum = simd::fma<Arch>(q[i], w, sum);
        });
        if constexpr (reads) store(s.o, sum);
    });
}

template <class Arch, bool reads>
void step_all_rows(const TitansStep& s) {
    constexpr int together = 2;
    std::int64_t d = 0;
    for (; d + together <= s.rows; d += together) step_rows<Arch, together, reads>(s, d);
    for (; d < s.rows; ++d) step_rows<Arch, 1, reads>(s, d);
}

template <class Arch>
void titans_step(const TitansStep& s) {
    if (!s.q) return step_all_rows<Arch, false>(s);
    std::fill_n(s.o, s.columns, 0.f);
    step_all_rows<Arch, true>(s);
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(TitansActivate, titans_activate, &kernels::titans_activate<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TitansOutput, titans_output, &kernels::titans_output<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TitansError, titans_error, &kernels::titans_error<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TitansDecayFunction, titans_decay, &kernels::titans_decay<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TitansStepFunction, titans_step, &kernels::titans_step<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
