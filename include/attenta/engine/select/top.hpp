// The largest elements of a row, in a time that grows with its length alone.
//
// A threshold from a sample leaves a few times `top` candidates, which one pass of SIMD compares collects. The exact
// threshold is found among these, and whatever is above it is written in its order. Nothing is sorted.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>

ATTENTA_BEGIN

namespace select {

/// Indices of the elements >= least, which are above -inf.
template <class Arch>
std::int64_t collect(const float* x, std::int64_t n, float least, std::int32_t* to) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    const bool all = least == minus_infinity;
    const simd::Batch<Arch> limit(least);
    std::int64_t count = 0, i = 0;
    for (; i + L <= n; i += L) {
        const simd::Batch<Arch> v = simd::load<Arch>(x + i);
        for (std::uint32_t bits = simd::bits_of<Arch>(all ? v > limit : v >= limit); bits != 0; bits &= bits - 1)
            to[count++] = static_cast<std::int32_t>(i + std::countr_zero(bits));
    }
    for (; i < n; ++i)
        if (all ? x[i] > least : x[i] >= least) to[count++] = static_cast<std::int32_t>(i);
    return count;
}

/// A value that somewhat more than `top` of n elements should reach, from every so-manieth of them.
inline float threshold_of_sample(const float* x, std::int64_t n, std::int64_t top) {
    constexpr std::int64_t samples = 1024;
    if (n < 4 * samples || top > n / 4) return minus_infinity;
    float sample[samples];
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < samples; ++i) {
        const float v = x[i * n / samples];
        if (v > minus_infinity) sample[count++] = v;
    }
    // Three standard deviations more than the share of the sample, so that one pass is enough but for rare rows.
    const std::int64_t expected = top * samples / n;
    std::int64_t rank = expected + 8;
    while ((rank - expected) * (rank - expected) < 9 * rank) ++rank;
    if (rank >= count) return minus_infinity;
    std::nth_element(sample, sample + rank, sample + count, std::greater<float>());
    return sample[rank];
}

template <class Arch>
std::int64_t choose_top(const float* x, std::int64_t n, std::int64_t top, std::int32_t* to, std::int32_t* scratch) {
    if (top <= 0 || n <= 0) return 0;
    std::int64_t count = collect<Arch>(x, n, threshold_of_sample(x, n, top), scratch);
    if (count < top) count = collect<Arch>(x, n, minus_infinity, scratch);
    if (count <= top) {
        std::copy_n(scratch, count, to);
        return count;
    }
    // The weakest that is chosen, by value, and of equal ones by index.
    const auto before = [x](std::int32_t a, std::int32_t b) { return x[a] > x[b] || (x[a] == x[b] && a < b); };
    std::int32_t* const ranked = scratch + count;
    std::copy_n(scratch, count, ranked);
    std::nth_element(ranked, ranked + top - 1, ranked + count, before);
    const std::int32_t last = ranked[top - 1];
    std::int64_t taken = 0;
    for (std::int64_t i = 0; i < count; ++i)
        if (!before(last, scratch[i])) to[taken++] = scratch[i];
    return taken;
}

}  // namespace select

ATTENTA_END
