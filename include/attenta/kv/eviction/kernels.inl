#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace eviction {

template <class Arch>
void weights_of_scores(float* s, std::int64_t n, float lse) {
    const simd::Batch<Arch> shift(lse);
    simd::map_row<Arch>(s, s, n,
                        [&](simd::Batch<Arch> x) ATTENTA_FLATTEN { return simd::exp_weight<Arch>(x - shift); });
}

template <class Arch>
void sum_rows(const float* rows, std::int64_t stride, std::int64_t count, float factor, bool add, float* to,
              std::int64_t n) {
    using B = simd::Batch<Arch>;
    simd::for_vectors<Arch>(n, [&](auto load, auto store) ATTENTA_FLATTEN {
        B sum = load(rows);
        for (std::int64_t r = 1; r < count; ++r) sum = sum + load(rows + r * stride);
        store(to, add ? simd::fma<Arch>(B(factor), sum, load(to)) : B(factor) * sum);
    });
}

/// The tokens at positions in [sink, recent).
template <class Arch>
class Candidates {
    using B = simd::Batch<Arch>;
    using Ints = simd::IntBatch<Arch>;

public:
    Candidates(const float* scores, const std::int32_t* positions, std::int64_t sink, std::int64_t recent)
        : scores_(scores),
          positions_(positions),
          first_(static_cast<std::int32_t>(std::min<std::int64_t>(sink, most)) - 1),
          end_(static_cast<std::int32_t>(std::min<std::int64_t>(recent, most))),
          are_all_(sink <= 0 && recent > most) {}

    /// Whether scores alone decide.
    bool are_all() const { return are_all_; }
    float score(std::int64_t slot) const { return scores_[slot]; }
    bool contain(std::int64_t slot) const { return are_all_ || (positions_[slot] > first_ && positions_[slot] < end_); }
    /// The scores of slots from `slot` on; infinity for those that are no candidates.
    template <bool All>
    ATTENTA_ALWAYS_INLINE B of(std::int64_t slot) const {
        const B scores = simd::load<Arch>(scores_ + slot);
        if constexpr (All) return scores;
        const Ints p = Ints::load_unaligned(positions_ + slot);
        const Ints inside = (Ints(first_) - p) & (p - Ints(end_));  // both are below 0
        return xsimd::select(xsimd::to_float(inside) < B(0.f), scores, B(infinity));
    }

    static constexpr float infinity = std::numeric_limits<float>::infinity();

private:
    static constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const float* scores_;
    const std::int32_t* positions_;
    std::int32_t first_, end_;
    bool are_all_;
};

/// Of candidates in slots [begin, end); NaN where some score is NaN.
template <class Arch, bool All>
float least_score(const Candidates<Arch>& candidates, std::int64_t begin, std::int64_t end) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B even(candidates.infinity), odd(candidates.infinity);
    auto nan = even != even;
    std::int64_t i = begin;
    for (; i + 2 * L <= end; i += 2 * L) {
        const B a = candidates.template of<All>(i), b = candidates.template of<All>(i + L);
        even = simd::min<Arch>(a, even);
        odd = simd::min<Arch>(b, odd);
        nan = nan | (a != a) | (b != b);
    }
    if (simd::bits_of<Arch>(nan) != 0) return std::numeric_limits<float>::quiet_NaN();
    float lane[static_cast<std::size_t>(L)];
    simd::min<Arch>(even, odd).store_unaligned(lane);
    float least = *std::min_element(lane, lane + L);
    for (; i < end; ++i) {
        if (!candidates.contain(i)) continue;
        if (is_nan(candidates.score(i))) return candidates.score(i);
        least = std::min(least, candidates.score(i));
    }
    return least;
}

/// The first slot in [begin, end) that has this score; `end` where there is none.
template <class Arch>
std::int64_t next_equal(const float* scores, std::int64_t begin, std::int64_t end, float score) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = begin;
    for (; i + L <= end; i += L)
        if (const auto equal = simd::bits_of<Arch>(simd::load<Arch>(scores + i) == simd::Batch<Arch>(score));
            equal != 0)
            return i + std::countr_zero(static_cast<std::uint64_t>(equal));
    while (i < end && scores[i] != score) ++i;
    return i;
}

/// Equal ones are looked for in those parts alone that have the least score.
template <class Arch>
std::int64_t lowest_score(const float* scores, const std::int32_t* positions, std::int64_t n, std::int64_t sink,
                          std::int64_t recent) {
    constexpr std::int64_t most_parts = 64, shortest = 256;
    const Candidates<Arch> candidates(scores, positions, sink, recent);
    const std::int64_t part = std::max((n + most_parts - 1) / most_parts, shortest);
    float of_part[most_parts];
    float least = candidates.infinity;
    for (std::int64_t p = 0; p * part < n; ++p) {
        const std::int64_t end = std::min((p + 1) * part, n);
        of_part[p] = candidates.are_all() ? least_score<Arch, true>(candidates, p * part, end)
                                          : least_score<Arch, false>(candidates, p * part, end);
        if (is_nan(of_part[p])) return -1;
        least = std::min(least, of_part[p]);
    }
    if (least == candidates.infinity) return -1;
    std::int64_t best = -1;
    for (std::int64_t p = 0; p * part < n; ++p)
        for (std::int64_t i = p * part, end = std::min(i + part, n); of_part[p] == least && i < end;) {
            const std::int64_t slot = next_equal<Arch>(scores, i, end, least);
            if (slot < end && candidates.contain(slot) && (best < 0 || positions[slot] < positions[best])) best = slot;
            i = slot + 1;
        }
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

template <class Arch>
void products(const float* x, const float* rows, std::int64_t n, std::int64_t dim, float* to) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = simd::sum_products<Arch>(x, rows + i * dim, dim);
}

template <class Arch>
float add_least_errors(const float* w, float all, float length_of_x, const float* lengths, std::int64_t n, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    // Lengths are rounded, and so are distances and weights.
    constexpr float of_lengths = 1e-5f, of_errors = 1 - 1e-4f;
    const B total(all), x(length_of_x), zero(0.f);
    B top(0.f);
    const auto add = [&](B weight, B length, B sum) ATTENTA_FLATTEN {
        top = simd::max<Arch>(weight, top);
        const B least = xsimd::abs(x - length) - B(of_lengths) * (x + length);
        return sum +
               simd::divide<Arch>(B(of_errors) * weight, total - weight) * xsimd::select(least < zero, zero, least);
    };
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        add(simd::load<Arch>(w + i), simd::load<Arch>(lengths + i), simd::load<Arch>(to + i)).store_unaligned(to + i);
    if (i < n)
        simd::store_part<Arch>(to + i,
                               add(simd::load_part<Arch>(w + i, n - i), simd::load_part<Arch>(lengths + i, n - i),
                                   simd::load_part<Arch>(to + i, n - i)),
                               n - i);
    float lane[static_cast<std::size_t>(L)];
    top.store_unaligned(lane);
    return *std::max_element(lane, lane + L);
}

ATTENTA_DEFINE_KERNEL(Kernels, eviction_kernels, &weights_of_scores<simd::NativeArch>, &sum_rows<simd::NativeArch>,
                      &lowest_score<simd::NativeArch>, &squared_distances<simd::NativeArch>,
                      &products<simd::NativeArch>, &add_least_errors<simd::NativeArch>)

}  // namespace eviction

ATTENTA_END
