#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/transpose.hpp>
#include <attenta/variants/structured/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

/// f(load, store) for the vectors of a row and for what is left of one: load(x) and store(x, vector) at the same place of any row.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(std::int64_t n, F&& f) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const float* x) ATTENTA_FLATTEN { return simd::load<Arch>(x + i); },
          [i](float* x, B v) ATTENTA_FLATTEN { v.store_unaligned(x + i); });
    if (const std::int64_t left = n - i; left > 0)
        f([i, left](const float* x) ATTENTA_FLATTEN { return simd::load_part<Arch>(x + i, left); },
          [i, left](float* x, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(x + i, v, left); });
}

template <class Arch>
void normalise_sum(const NormalisedSum& x, float* to) {
    using B = simd::Batch<Arch>;
    const auto n = static_cast<float>(x.n);
    std::copy_n(x.a, x.n, to);
    simd::add_row<Arch>(to, x.b, x.n, 1.f);
    const B mean(simd::sum_row<Arch>(to, x.n, [](B z) ATTENTA_FLATTEN { return z; }) / n);
    simd::map_row<Arch>(to, to, x.n, [&](B z) ATTENTA_FLATTEN { return z - mean; });
    const float squares = simd::sum_products<Arch>(to, to, x.n),
                deviation = std::sqrt(squares / static_cast<float>(x.n - x.ddof)) + x.eps;
    const B share(1.f / deviation);
    for_vectors<Arch>(x.n, [&](auto load, auto store) ATTENTA_FLATTEN {
        store(to, simd::fma<Arch>(load(to) * share, load(x.gain), load(x.shift)));
    });
}

template <class Arch>
float score_conditioned(const ConditionedRow& r) {
    using B = simd::Batch<Arch>;
    B sum(0.f);
    for_vectors<Arch>(r.n, [&](auto load, auto) ATTENTA_FLATTEN {
        const B x = load(r.x), factor = load(r.a) + load(r.a_shift);
        B y = x;
        if (r.kind == ConditionedRow::gate)
            y = simd::sigmoid<Arch>(factor) * x;
        else
            y = simd::fma<Arch>(x, factor, load(r.b) + load(r.b_shift));
        if (r.kind == ConditionedRow::affine_tanh) y = simd::tanh<Arch>(y);
        sum = simd::fma<Arch>(load(r.v), y, sum);
    });
    return simd::reduce_add<Arch>(sum);
}

template <class Arch>
void mean_of_rows(const float* x, std::int64_t stride, std::int64_t count, std::int64_t n, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t block = 128;
    const B share(1.f / static_cast<float>(count));
    for_vectors<Arch>(n, [&](auto load, auto store) ATTENTA_FLATTEN {
        B total(0.f);
        for (std::int64_t first = 0; first < count; first += block) {
            B sum(0.f);
            for (std::int64_t i = first; i < std::min(first + block, count); ++i) sum = sum + load(x + i * stride);
            total = total + sum;
        }
        store(to, total * share);
    });
}

template <class Arch>
void cooperate_row(float* r, const float* a, const float* b, std::int64_t n, bool product) {
    using B = simd::Batch<Arch>;
    const B half(0.5f), one(1.f), two(2.f), zero(0.f), six(6.f);
    for_vectors<Arch>(n, [&](auto load, auto store) ATTENTA_FLATTEN {
        const B x = load(r), c = half * (load(a) + load(b));
        if (product) return store(r, simd::fma<Arch>(x, c, x));
        const B sum = simd::fma<Arch>(c, one + xsimd::abs(x), x * (x + two));
        store(r, simd::min<Arch>(six, simd::max<Arch>(zero, sum)));
    });
}

/// Of one vector: load reads a place of a row of x or y, `factor` is that of the place.
template <class Arch, class Load>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> modulated(const Modulation& m, std::int64_t head, std::int64_t token,
                                                  simd::Batch<Arch> factor, Load&& load) {
    using B = simd::Batch<Arch>;
    const B x = load(m.x.row(head, token));
    if (m.y.data) return simd::fma<Arch>(factor, load(m.y.row(head, token)), x);
    return simd::fma<Arch>(x, x + B(2.f), factor);
}

template <class Arch>
void modulate_row(const Modulation& m, std::int64_t head, std::int64_t token, float* to) {
    for_vectors<Arch>(m.x.dim, [&](auto load, auto store) ATTENTA_FLATTEN {
        store(to, modulated<Arch>(m, head, token, load(m.factor), load));
    });
}

template <class Arch>
void modulate_columns(const Modulation& m, std::int64_t head, std::int64_t begin, std::int64_t count, float* rows,
                      float* to, std::int64_t stride) {
    constexpr std::int64_t width = 16;
    for (std::int64_t first = 0; first < m.x.tokens; first += width) {
        const std::int64_t tokens = std::min(width, m.x.tokens - first);
        for (std::int64_t t = 0; t < tokens; ++t)
            for_vectors<Arch>(count, [&](auto load, auto store) ATTENTA_FLATTEN {
                store(rows + t * width,
                      modulated<Arch>(m, head, first + t, load(m.factor + begin),
                                      [&](const float* x) ATTENTA_FLATTEN { return load(x + begin); }));
            });
        simd::transpose_rows<Arch>(rows, width, tokens, count, to + first, stride);
    }
}

template <class Arch>
void latent_factor(const float* q, const float* k, const float* v, std::int64_t n, float* to) {
    using B = simd::Batch<Arch>;
    for_vectors<Arch>(n, [&](auto load, auto store)
                             ATTENTA_FLATTEN { store(to, load(q) * load(k) * (B(1.f) + xsimd::abs(load(v)))); });
}

template <class Arch>
void offset_row(const RowOffset& x, float* o) {
    using B = simd::Batch<Arch>;
    const B factor(x.factor);
    for_vectors<Arch>(x.n, [&](auto load, auto store) ATTENTA_FLATTEN {
        B kept(0.f);
        if (!x.replace) kept = x.gain ? simd::fma<Arch>(load(x.gain), load(o), load(o)) : load(o);
        store(o, simd::fma<Arch>(factor, load(x.offset), kept));
    });
}

/// x less the nearest integer, 0 where floats have no fractions; infinities become NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> fraction(simd::Batch<Arch> x) {
    using B = simd::Batch<Arch>;
    const B magic(0x1.8p23f);
    return xsimd::select(xsimd::abs(x) < B(0x1p22f), x - ((x + magic) - magic), x - x);
}

/// sin(2π f x + phase): a frequency's first 12 bits times those of the time is exact, so whole turns leave without rounding.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> sine(simd::Batch<Arch> frequency, simd::Batch<Arch> phase,
                                             const SpectralTime& x) {
    using B = simd::Batch<Arch>;
    const B high = simd::float_of<Arch>(simd::bits_of<Arch>(frequency) & static_cast<std::int32_t>(0xfffff000));
    const B rest = simd::fma<Arch>(high, B(x.low), (frequency - high) * B(x.whole));
    const B turns = fraction<Arch>(high * B(x.high)) + fraction<Arch>(rest) + fraction<Arch>(phase * B(0.159154943f));
    B s, c;
    simd::sin_cos<Arch>(fraction<Arch>(turns) * B(6.28318531f), s, c);
    return s;
}

/// Some tokens at once read an atom once.
template <class Arch, int N, class Load, class Store>
ATTENTA_ALWAYS_INLINE void sum_atoms_of(const SpectralRows& x, float* o, Load&& load, Store&& store) {
    using B = simd::Batch<Arch>;
    const SpectralAtoms& atoms = *x.atoms;
    B sums[N];
    simd::unrolled<N>([&](auto t) ATTENTA_FLATTEN { sums[t] = B(0.f); });
    for (std::int64_t k = 0; k < atoms.amplitude.rows; ++k) {
        const auto take = [&](const Matrices<const float>& m)
                              ATTENTA_FLATTEN { return m ? load(m.data + k * m.row_stride) : B(0.f); };
        const B amplitude = take(atoms.amplitude), frequency = take(atoms.frequency), phase = take(atoms.phase),
                amplitude_slope = take(atoms.amplitude_slope), frequency_slope = take(atoms.frequency_slope),
                phase_slope = take(atoms.phase_slope);
        simd::unrolled<N>([&](auto t) ATTENTA_FLATTEN {
            const B time(x.times[t].whole), share(x.coefficients[t * x.coefficient_stride + k]);
            const B wave = sine<Arch>(simd::fma<Arch>(frequency_slope, time, frequency),
                                      simd::fma<Arch>(phase_slope, time, phase), x.times[t]);
            sums[t] = simd::fma<Arch>(share * simd::fma<Arch>(amplitude_slope, time, amplitude), wave, sums[t]);
        });
    }
    simd::unrolled<N>([&](auto t) ATTENTA_FLATTEN { store(o + t * x.stride, sums[t]); });
}

template <class Arch>
void sum_atoms(const SpectralRows& x, float* o) {
    for_vectors<Arch>(x.atoms->amplitude.cols, [&](auto load, auto store) ATTENTA_FLATTEN {
        if (x.tokens == 4) return sum_atoms_of<Arch, 4>(x, o, load, store);
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            SpectralRows one = x;
            one.coefficients += t * x.coefficient_stride;
            one.times += t;
            sum_atoms_of<Arch, 1>(one, o + t * x.stride, load, store);
        }
    });
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(NormaliseSum, normalise_sum, &kernels::normalise_sum<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScoreConditioned, score_conditioned, &kernels::score_conditioned<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MeanOfRows, mean_of_rows, &kernels::mean_of_rows<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(CooperateRow, cooperate_row, &kernels::cooperate_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ModulateRow, modulate_row, &kernels::modulate_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ModulateColumns, modulate_columns, &kernels::modulate_columns<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(LatentFactor, latent_factor, &kernels::latent_factor<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(OffsetRow, offset_row, &kernels::offset_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumAtoms, sum_atoms, &kernels::sum_atoms<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
