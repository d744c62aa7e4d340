#pragma once

#include <attenta/analysis/kernels.hpp>
#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/exact_dot.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace analysis {

namespace kernels {

/// Σ f(x, y) over two rows, with f(0, 0) = 0.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE float sum_pairs(const float* x, const float* y, std::int64_t n, F&& f) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) sum = sum + f(simd::load<Arch>(x + i), simd::load<Arch>(y + i));
    if (i < n) sum = sum + f(simd::load_part<Arch>(x + i, n - i), simd::load_part<Arch>(y + i, n - i));
    return simd::reduce_add<Arch>(sum);
}

template <class Arch>
void mix_identity(const float* row, std::int64_t n, std::int64_t i, float residual, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float keep = 1.f - residual;
    simd::map_row<Arch>(row, to, n, [keep](B x) ATTENTA_FLATTEN { return x * B(keep); });
    to[i] += residual;
    const float sum = simd::sum_row<Arch>(to, n, [](B x) ATTENTA_FLATTEN { return x; });
    if (sum != 0.f)
        simd::map_row<Arch>(to, to, n, [sum](B x) ATTENTA_FLATTEN { return simd::divide<Arch>(x, B(sum)); });
}

template <class Arch>
void precise_dots(const float* x, const float* y, std::int64_t rows, std::int64_t dim, double* to) {
    for (std::int64_t r = 0; r < rows; ++r) to[r] = simd::exact_dot<Arch>(x + r * dim, y + r * dim, dim);
}

/// How many of x pass a comparison of a vector, or in the end of one number.
template <class Arch, class Vector, class Number>
ATTENTA_ALWAYS_INLINE std::int64_t count(const float* x, std::int64_t n, Vector&& of_vector, Number&& of_number) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t found = 0, i = 0;
    for (; i + L <= n; i += L) found += std::popcount(simd::bits_of<Arch>(of_vector(simd::load<Arch>(x + i))));
    for (; i < n; ++i) found += of_number(x[i]) ? 1 : 0;
    return found;
}

template <class Arch>
std::int64_t count_from(const float* x, std::int64_t n, float least) {
    using B = simd::Batch<Arch>;
    return count<Arch>(
        x, n, [least](B v) ATTENTA_FLATTEN { return v >= B(least); }, [least](float v) { return v >= least; });
}

template <class Arch>
std::int64_t count_stronger(const float* x, std::int64_t n, std::int64_t at) {
    using B = simd::Batch<Arch>;
    const float value = x[at];
    const std::int64_t before = count_from<Arch>(x, at, value);
    return before + count<Arch>(
                        x + at + 1, n - at - 1, [value](B v) ATTENTA_FLATTEN { return v > B(value); },
                        [value](float v) { return v > value; });
}

template <class Arch>
float sum_of_weights(const float* x, std::int64_t n) {
    const FlushToZero flush;
    return simd::sum_row<Arch>(x, n, [](simd::Batch<Arch> v) ATTENTA_FLATTEN { return v; });
}

template <class Arch>
float dot_of_weights(const float* x, const float* y, std::int64_t n) {
    const FlushToZero flush;
    return simd::sum_products<Arch>(x, y, n);
}

template <class Arch>
void add_weighted_row(const float* x, std::int64_t n, float factor, float* to) {
    const FlushToZero flush;
    simd::add_row<Arch>(to, x, n, factor);
}

template <class Arch>
void cut_below(const float* x, std::int64_t n, float least, float* to) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(x, to, n, [least](B v) ATTENTA_FLATTEN { return xsimd::select(v <= B(least), B(0.f), v); });
}

/// The vectors of a row, what stands behind its end being `rest`.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void each_vector(const float* x, std::int64_t n, float rest, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L) f(simd::load<Arch>(x + i));
    if (i == n) return;
    float last[static_cast<std::size_t>(L)];
    std::fill_n(last, L, rest);
    std::copy(x + i, x + n, last);
    f(simd::load<Arch>(last));
}

template <class Arch>
ScoreSums sum_scores(const float* s, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float top = simd::row_max<Arch>(s, n), mean = sum_of_weights<Arch>(s, n) / static_cast<float>(n);
    B squares(0.f), weights(0.f), weighted(0.f);
    each_vector<Arch>(s, n, mean,
                      [&](B x) ATTENTA_FLATTEN { squares = simd::fma<Arch>(x - B(mean), x - B(mean), squares); });
    each_vector<Arch>(s, n, -std::numeric_limits<float>::infinity(), [&](B x) ATTENTA_FLATTEN {
        const B below = x - B(top), weight = simd::exp<Arch>(below);
        weights = weights + weight;
        weighted = weighted + xsimd::select(weight == B(0.f), B(0.f), weight * below);
    });
    const float sum = simd::reduce_add<Arch>(weights), log_sum = std::log(sum);
    // Both terms of the entropy are at least 0: nothing cancels.
    return {mean, simd::reduce_add<Arch>(squares), top + log_sum, log_sum - simd::reduce_add<Arch>(weighted) / sum};
}

template <class Arch>
PowerSums with_powers(float lse, const float* weights, std::int64_t n) {
    constexpr std::int64_t together = 8;  // sums side by side, of which compilers make vectors
    double squares[together] = {}, cubes[together] = {};
    const auto add = [&](std::int64_t u, float weight) {
        const double a = double{weight};
        squares[u] += a * a;
        cubes[u] += a * a * a;
    };
    std::int64_t i = 0;
    for (; i + together <= n; i += together)
        for (std::int64_t u = 0; u < together; ++u) add(u, weights[i + u]);
    for (std::int64_t u = 0; i < n; ++i, ++u) add(u, weights[i]);
    PowerSums sums{lse};
    for (std::int64_t u = 0; u < together; ++u) {
        sums.squares += squares[u];
        sums.cubes += cubes[u];
    }
    return sums;
}

template <class Arch>
PowerSums weigh_scores(const float* s, std::int64_t n, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float top = simd::row_max<Arch>(s, n);
    simd::map_row<Arch>(s, to, n, [top](B x) ATTENTA_FLATTEN { return simd::exp<Arch>(x - B(top)); });
    const float sum = sum_of_weights<Arch>(to, n);
    simd::map_row<Arch>(to, to, n, [sum](B a) ATTENTA_FLATTEN { return simd::divide<Arch>(a, B(sum)); });
    return with_powers<Arch>(top + std::log(sum), to, n);
}

template <class Arch>
float distance_sum(const float* x, std::int64_t n, std::int64_t i) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    float lane[static_cast<std::size_t>(L)];
    for (std::int64_t c = 0; c < L; ++c) lane[c] = static_cast<float>(c);
    const B lanes = simd::load<Arch>(lane);
    B sum(0.f);
    const auto add = [&](std::int64_t j, B weights) ATTENTA_FLATTEN {
        const B distance = xsimd::abs(lanes + B(static_cast<float>(j - i)));
        sum = simd::fma<Arch>(distance, weights, sum);
    };
    std::int64_t j = 0;
    for (; j + L <= n; j += L) add(j, simd::load<Arch>(x + j));
    if (j < n) add(j, simd::load_part<Arch>(x + j, n - j));
    return simd::reduce_add<Arch>(sum);
}

template <class Arch>
float smooth_entropy(const float* x, std::int64_t n, float gain, float floor) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    const auto term = [=](B v) ATTENTA_FLATTEN {
        const B b = simd::fma<Arch>(B(gain), v, B(floor));
        const B safe = xsimd::select(b < B(std::numeric_limits<float>::min()), B(1.f), b);
        return -b * simd::log_with_complement<Arch>(safe, B(1.f) - safe);
    };
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) sum = sum + term(simd::load<Arch>(x + i));
    float total = simd::reduce_add<Arch>(sum);
    if (i < n) {
        float part[static_cast<std::size_t>(L)];
        term(simd::load_part<Arch>(x + i, n - i)).store_unaligned(part);
        for (std::int64_t c = 0; c < n - i; ++c) total += part[c];
    }
    return total;
}

/// ½ (1 + t) log(1 + t) + ½ (1 − t) log(1 − t), 0 <= t <= 1.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> divergence_term(simd::Batch<Arch> t) {
    using B = simd::Batch<Arch>;
    // t²/2 + t⁴/12 + t⁶/30 + t⁸/56 + t¹⁰/90; the next term is below 1e-8 of the first where |t| < 1/4.
    const B u = t * t;
    B series = simd::fma<Arch>(u, B(1.f / 90), B(1.f / 56));
    series = simd::fma<Arch>(series, u, B(1.f / 30));
    series = simd::fma<Arch>(series, u, B(1.f / 12));
    series = simd::fma<Arch>(series, u, B(0.5f)) * u;
    const B more = B(1.f) + t, less = B(1.f) - t;
    const B safe = xsimd::select(less < B(0x1p-24f), B(1.f), less);
    const B logs =
        more * simd::log_with_complement<Arch>(more, -t) + less * simd::log_with_complement<Arch>(safe, B(1.f) - safe);
    return xsimd::select(t < B(0.25f), series, logs * B(0.5f));
}

template <class Arch>
float row_divergence(const float* x, const float* y, std::int64_t n, float gain, float floor) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    // Two rows whose numbers are equal behind the end, as load_part's zeros are, add nothing there.
    return sum_pairs<Arch>(x, y, n, [=](B p, B q) ATTENTA_FLATTEN {
        const B a = simd::fma<Arch>(B(gain), p, B(floor)), b = simd::fma<Arch>(B(gain), q, B(floor));
        const B sum = a + b, difference = xsimd::abs(B(gain) * (p - q));
        const B unit = xsimd::select(sum == B(0.f), B(1.f), sum);
        return B(0.5f) * sum * divergence_term<Arch>(simd::divide<Arch>(difference, unit));
    });
}

template <class Arch>
float score_divergence(const float* s, const float* other, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    const B top(simd::row_max<Arch>(s, n)), other_top(simd::row_max<Arch>(other, n)),
        nothing(-std::numeric_limits<float>::infinity());
    B sum(0.f), other_sum(0.f), differences(0.f);
    const auto add = [&](B x, B y) ATTENTA_FLATTEN {
        const B weight = simd::exp<Arch>(x - top), difference = (x - top) - (y - other_top);
        sum = sum + weight;
        other_sum = other_sum + simd::exp<Arch>(y - other_top);
        differences = differences + xsimd::select(weight == B(0.f), B(0.f), weight * difference);
    };
    std::int64_t i = 0;
    for (; i + L <= n; i += L) add(simd::load<Arch>(s + i), simd::load<Arch>(other + i));
    if (i < n) {
        const std::uint32_t there = (std::uint32_t{1} << (n - i)) - 1;
        add(simd::select<Arch>(there, simd::load_part<Arch>(s + i, n - i), nothing),
            simd::select<Arch>(there, simd::load_part<Arch>(other + i, n - i), nothing));
    }
    const float all = simd::reduce_add<Arch>(sum), other_all = simd::reduce_add<Arch>(other_sum);
    return simd::reduce_add<Arch>(differences) / all + std::log(other_all / all);
}

template <class Arch>
void scale_and_shift(float* o, std::int64_t n, const float* gain, const float* bias) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    const auto shifted = [](B x, B g, B b) ATTENTA_FLATTEN { return simd::fma<Arch>(B(1.f) + g, x, b); };
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        shifted(simd::load<Arch>(o + i), simd::load<Arch>(gain + i), simd::load<Arch>(bias + i)).store_unaligned(o + i);
    if (i < n)
        simd::store_part<Arch>(o + i,
                               shifted(simd::load_part<Arch>(o + i, n - i), simd::load_part<Arch>(gain + i, n - i),
                                       simd::load_part<Arch>(bias + i, n - i)),
                               n - i);
}

template <class Arch>
void scale_weights(const float* x, std::int64_t n, float factor, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    simd::map_row<Arch>(x, to, n, [factor](B v) ATTENTA_FLATTEN { return v * B(factor); });
}

/// f(begin, count, group) for the pieces of a tile's keys that belong to one group or to none, in order; begin counts from
/// the tile's first key.
template <class F>
ATTENTA_ALWAYS_INLINE void for_groups(const KeyGroups& groups, std::int64_t head, const KeyBlock& keys, F&& f) {
    const KeyRange *range = groups.begin(head), *const last = groups.end(head);
    const std::int64_t end = keys.begin + keys.count;
    range = std::lower_bound(range, last, keys.begin, [](const KeyRange& r, std::int64_t key) { return r.end <= key; });
    for (std::int64_t at = keys.begin; at < end;) {
        const bool inside = range != last && range->begin <= at;
        const std::int64_t stop = range == last ? end : std::min(end, inside ? range->end : range->begin);
        f(at - keys.begin, stop - at, inside ? range->group : groups.count);
        if (inside && stop == range->end) ++range;
        at = stop;
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(MixIdentity, mix_identity, &kernels::mix_identity<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(PreciseDots, precise_dots, &kernels::precise_dots<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(CountStronger, count_stronger, &kernels::count_stronger<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(CountFrom, count_from, &kernels::count_from<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumOfWeights, sum_of_weights, &kernels::sum_of_weights<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(DotOfWeights, dot_of_weights, &kernels::dot_of_weights<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddWeightedRow, add_weighted_row, &kernels::add_weighted_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(CutBelow, cut_below, &kernels::cut_below<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumScores, sum_scores, &kernels::sum_scores<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(WeighScores, weigh_scores, &kernels::weigh_scores<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(DistanceSum, distance_sum, &kernels::distance_sum<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SmoothEntropy, smooth_entropy, &kernels::smooth_entropy<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(RowDivergence, row_divergence, &kernels::row_divergence<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScoreDivergence, score_divergence, &kernels::score_divergence<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleAndShift, scale_and_shift, &kernels::scale_and_shift<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleWeights, scale_weights, &kernels::scale_weights<simd::NativeArch>)

template <class Arch>
void GroupMass::operator()(Tile<Arch> t) const {
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const float* const weights = t.raw().s + r * t.raw().stride;
        float* const to = mass + (row.head * queries + row.index) * (groups.count + 1);
        kernels::for_groups(groups, row.head, t.raw().keys,
                            [&](std::int64_t begin, std::int64_t count, std::int64_t group) {
                                to[group] += kernels::sum_of_weights<Arch>(weights + begin, count);
                            });
    }
}

template <class Arch>
void GroupGain::operator()(Tile<Arch> t) const {
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const weights = t.raw().s + r * t.raw().stride;
        const float* const from = gain + (row.head * queries + row.index) * (groups.count + 1);
        kernels::for_groups(groups, row.head, t.raw().keys,
                            [&](std::int64_t begin, std::int64_t count, std::int64_t group) {
                                if (from[group] == 0.f)
                                    std::fill_n(weights + begin, count, 0.f);
                                else
                                    simd::scale_row<Arch>(weights + begin, count, from[group]);
                            });
    }
}

ATTENTA_DEFINE_EDIT(GroupMass)
ATTENTA_DEFINE_EDIT(GroupGain)

}  // namespace analysis

ATTENTA_END
