#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/gating/kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace gating {

namespace kernels {

/// f(piece, n) for pieces of runs, short enough to be summed in single precision.
template <class F>
ATTENTA_ALWAYS_INLINE void for_pieces(const Runs& x, F&& f) {
    constexpr std::int64_t most = 4096;
    for (std::int64_t r = 0; r < x.count; ++r)
        for (std::int64_t i = 0; i < x.length; i += most) f(x.data + r * x.stride + i, std::min(most, x.length - i));
}

inline double numbers_of(const Runs& x) { return static_cast<double>(x.count) * static_cast<double>(x.length); }

/// The larger lanes; NaN where one is.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> max_or_nan(simd::Batch<Arch> a, simd::Batch<Arch> b) {
    return xsimd::select(a == a, xsimd::select(b <= a, a, b), a);
}

/// The largest of x, NaN where one is.
template <class Arch>
float largest_or_nan(const float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B largest(-std::numeric_limits<float>::infinity());
    std::int64_t i = 0;
    for (; i + L <= n; i += L) largest = max_or_nan<Arch>(largest, simd::load<Arch>(x + i));
    float lanes[static_cast<std::size_t>(L)], top = -std::numeric_limits<float>::infinity();
    largest.store_unaligned(lanes);
    const auto take = [&top](float v) { top = v <= top || top != top ? top : v; };
    for (const float v : lanes) take(v);
    for (; i < n; ++i) take(x[i]);
    return top;
}

/// Σ f(x[i])
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE double sum_of(const Runs& x, F&& f) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    double total = 0;
    for_pieces(x, [&](const float* p, std::int64_t n) ATTENTA_FLATTEN {
        B even(0.f), odd(0.f);
        std::int64_t i = 0;
        for (; i + 2 * L <= n; i += 2 * L) {
            even = even + f(simd::load<Arch>(p + i));
            odd = odd + f(simd::load<Arch>(p + i + L));
        }
        for (; i + L <= n; i += L) even = even + f(simd::load<Arch>(p + i));
        if (i < n) {
            const auto here = static_cast<std::uint32_t>((1u << (n - i)) - 1);
            odd = odd + simd::select<Arch>(here, f(simd::load_part<Arch>(p + i, n - i)), B(0.f));
        }
        total += double{simd::reduce_add<Arch>(even + odd)};
    });
    return total;
}

template <class Arch>
Pooled pool_runs(const Runs& x, bool log_sum_exp) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    Pooled pooled;
    pooled.max = -std::numeric_limits<float>::infinity();
    double sum = 0;
    for_pieces(x, [&](const float* p, std::int64_t n) ATTENTA_FLATTEN {
        sum += double{simd::sum_row<Arch>(p, n, [](B v) ATTENTA_FLATTEN { return v; })};
        const float top = largest_or_nan<Arch>(p, n);
        pooled.max = top <= pooled.max || pooled.max != pooled.max ? pooled.max : top;
    });
    pooled.mean = static_cast<float>(sum / numbers_of(x));
    if (!log_sum_exp) return pooled;
    const B top(pooled.max);
    const double sums = sum_of<Arch>(x, [&](B v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v - top); });
    pooled.log_sum_exp = pooled.max + static_cast<float>(std::log(sums));
    return pooled;
}

template <class Arch>
Moments run_moments(const Runs& x) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const double mean = sum_of<Arch>(x, [](B v) ATTENTA_FLATTEN { return v; }) / numbers_of(x);
    const B center(static_cast<float>(mean));
    const double squares = sum_of<Arch>(x, [&](B v) ATTENTA_FLATTEN { return (v - center) * (v - center); });
    return {static_cast<float>(mean), static_cast<float>(std::sqrt(squares / numbers_of(x)))};
}

template <class Arch>
void pool_channels(const ChannelPool& p) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    for (std::int64_t c = 0; c < p.channels; ++c) {
        const float* const x = p.x + c * p.channel_stride;
        const B gain(p.gains[c]), last(c + 1 == p.channels ? 1.f / static_cast<float>(p.channels) : 1.f);
        simd::for_vectors<Arch>(p.n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
            const B y = load(x) * gain;
            store(p.largest, c == 0 ? y : max_or_nan<Arch>(load(p.largest), y));
            store(p.mean, (c == 0 ? y : load(p.mean) + y) * last);
        });
    }
}

template <class Arch>
void gate_row(const float* x, const float* gates, float factor, float shift, std::int64_t n, float* o) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const B times(factor), plus(shift);
    if (gates)
        simd::map_pair<Arch>(x, gates, n, o,
                             [&](B v, B g) ATTENTA_FLATTEN { return v * simd::fma<Arch>(times, g, plus); });
    else
        simd::map_row<Arch>(x, o, n, [&](B v) ATTENTA_FLATTEN { return v * plus; });
}

template <class Arch>
void sigmoid_gate_row(const SigmoidGate& g) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const B shift(g.shift), factor(g.factor), more(g.more);
    simd::map_pair<Arch>(g.x, g.m, g.n, g.o, [&](B x, B m) ATTENTA_FLATTEN {
        return x * (simd::sigmoid<Arch>((m - shift) * factor) + more);
    });
}

template <class Arch>
void unit_gate_positions(const UnitGate& g) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    float largest[UnitGate::most] = {}, squares[UnitGate::most] = {};
    for (std::int64_t c = 0; c < g.channels; ++c)
        simd::map_pair<Arch>(largest, g.m + c * g.m_stride, g.n, largest,
                             [](B top, B m) ATTENTA_FLATTEN { return max_or_nan<Arch>(top, xsimd::abs(m)); });
    // Squares of numbers relative to the largest neither overflow nor vanish.
    const auto relative = [](B m, B top) ATTENTA_FLATTEN {
        return simd::divide<Arch>(m, xsimd::select(top == B(0.f), B(1.f), top));
    };
    for (std::int64_t c = 0; c < g.channels; ++c) {
        float unit[UnitGate::most];
        simd::map_pair<Arch>(g.m + c * g.m_stride, largest, g.n, unit, relative);
        simd::map_pair<Arch>(squares, unit, g.n, squares,
                             [](B sum, B u) ATTENTA_FLATTEN { return simd::fma<Arch>(u, u, sum); });
    }
    const B eps(g.eps), more(g.more);
    simd::map_pair<Arch>(largest, squares, g.n, squares,
                         [&](B top, B sum) ATTENTA_FLATTEN { return top * xsimd::sqrt(sum) + eps; });
    for (std::int64_t c = 0; c < g.channels; ++c) {
        float gates[UnitGate::most];
        simd::map_pair<Arch>(g.m + c * g.m_stride, squares, g.n, gates,
                             [&](B m, B norm) ATTENTA_FLATTEN { return simd::divide<Arch>(m, norm) + more; });
        simd::map_pair<Arch>(g.x + c * g.x_stride, gates, g.n, g.o + c * g.o_stride,
                             [](B x, B gate) ATTENTA_FLATTEN { return x * gate; });
    }
}

template <class Arch>
float squared_sum(const float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    return simd::sum_row<Arch>(x, n, [](B v) ATTENTA_FLATTEN { return v * v; });
}

template <class Arch>
void add_numbers(const float* x, std::int64_t n, float* to) {
    const FlushToZero flush;
    simd::add_row<Arch>(to, x, n, 1.f);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(PoolRuns, pool_runs, &kernels::pool_runs<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(RunMoments, run_moments, &kernels::run_moments<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(PoolChannels, pool_channels, &kernels::pool_channels<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(GateRow, gate_row, &kernels::gate_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SigmoidGateRow, sigmoid_gate_row, &kernels::sigmoid_gate_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(UnitGatePositions, unit_gate_positions, &kernels::unit_gate_positions<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SquaredSum, squared_sum, &kernels::squared_sum<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddNumbers, add_numbers, &kernels::add_numbers<simd::NativeArch>)

}  // namespace gating

ATTENTA_END
