#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <bit>
#include <limits>

ATTENTA_BEGIN

namespace eviction {

template <class Arch>
void weights_of_scores(float* s, std::int64_t n, float lse) {
    const simd::Batch<Arch> shift(lse);
    simd::map_row<Arch>(s, s, n,
                        [&](simd::Batch<Arch> x) ATTENTA_FLATTEN { return simd::exp_weight<Arch>(x - shift); });
}

/// Of `lanes` scores those of tokens at positions in [sink, recent); infinity elsewhere.
template <class Arch>
class Candidates {
    using Ints = simd::IntBatch<Arch>;

public:
    Candidates(std::int64_t sink, std::int64_t recent)
        : first_(static_cast<std::int32_t>(std::min<std::int64_t>(sink, most)) - 1),
          end_(static_cast<std::int32_t>(std::min<std::int64_t>(recent, most))) {}
    bool contain(std::int32_t position) const { return position > first_ && position < end_; }
    simd::Batch<Arch> of(const float* scores, const std::int32_t* positions) const {
        const Ints p = Ints::load_unaligned(positions);
        const Ints inside = (Ints(first_) - p) & (p - Ints(end_));  // both are below 0
        return xsimd::select(xsimd::to_float(inside) < simd::Batch<Arch>(0.f), simd::load<Arch>(scores),
                             simd::Batch<Arch>(std::numeric_limits<float>::infinity()));
    }

private:
    static constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    std::int32_t first_, end_;
};

template <class Arch>
std::int64_t lowest_score(const float* scores, const std::int32_t* positions, std::int64_t n, std::int64_t sink,
                          std::int64_t recent) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const Candidates<Arch> candidates(sink, recent);
    B even(infinity), odd(infinity);
    auto nan = even != even;
    std::int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        const B a = candidates.of(scores + i, positions + i), b = candidates.of(scores + i + L, positions + i + L);
        even = simd::min<Arch>(a, even);
        odd = simd::min<Arch>(b, odd);
        nan = nan | (a != a) | (b != b);
    }
    float lane[static_cast<std::size_t>(L)];
    simd::min<Arch>(even, odd).store_unaligned(lane);
    bool any_nan = simd::bits_of<Arch>(nan) != 0;
    float least = *std::min_element(lane, lane + L);
    for (std::int64_t t = i; t < n; ++t) {
        if (!candidates.contain(positions[t])) continue;
        any_nan = any_nan || is_nan(scores[t]);
        if (scores[t] < least) least = scores[t];
    }
    if (any_nan || least == infinity) return -1;

    std::int64_t best = -1;
    const auto take = [&](std::int64_t slot) {
        if (best < 0 || positions[slot] < positions[best]) best = slot;
    };
    const B limit(least);
    for (std::int64_t t = 0; t < i; t += L)
        for (std::uint32_t bits = simd::bits_of<Arch>(candidates.of(scores + t, positions + t) <= limit); bits != 0;
             bits &= bits - 1)
            take(t + std::countr_zero(bits));
    for (std::int64_t t = i; t < n; ++t)
        if (candidates.contain(positions[t]) && scores[t] <= least) take(t);
    return best;
}

template <class Arch>
void squared_distances(const float* x, const float* rows, std::int64_t n, std::int64_t dim, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t i = 0; i < n; ++i) {
        const float* const row = rows + i * dim;
        B sum(0.f);
        std::int64_t c = 0;
        for (; c + L <= dim; c += L) {
            const B d = simd::load<Arch>(x + c) - simd::load<Arch>(row + c);
            sum = simd::fma<Arch>(d, d, sum);
        }
        if (c < dim) {
            const B d = simd::load_part<Arch>(x + c, dim - c) - simd::load_part<Arch>(row + c, dim - c);
            sum = simd::fma<Arch>(d, d, sum);
        }
        to[i] = simd::reduce_add<Arch>(sum);
    }
}

ATTENTA_DEFINE_KERNEL(Kernels, eviction_kernels, &weights_of_scores<simd::NativeArch>, &lowest_score<simd::NativeArch>,
                      &squared_distances<simd::NativeArch>)

}  // namespace eviction

ATTENTA_END
