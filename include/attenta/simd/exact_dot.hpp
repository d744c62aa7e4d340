// Products of rows that are ranked by them: exact to the last bit of a double's sum, and the same on every instruction set.
#pragma once

#include <attenta/simd/vector.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace simd {

inline constexpr std::int64_t exact_lanes = 16;

/// The next exact_lanes elements as floats, in place or in `buffer`.
template <class Arch>
const float* widened(const float* x, float*) {
    return x;
}
template <class Arch, class T>
const float* widened(const T* x, float* buffer) {
    for (std::int64_t c = 0; c < exact_lanes; c += lanes<Arch>) load<Arch>(x + c).store_unaligned(buffer + c);
    return buffer;
}

/// Σ_c x[c] y[c]. Products are exact and their sum is a double, formed in one order everywhere.
template <class Arch, class T>
double exact_dot(const float* x, const T* y, std::int64_t dim) {
    double sum[exact_lanes] = {};
    float buffer[exact_lanes];
    std::int64_t c = 0;
    for (; c + exact_lanes <= dim; c += exact_lanes) {
        const float* const row = widened<Arch>(y + c, buffer);
        for (std::int64_t u = 0; u < exact_lanes; ++u) sum[u] += double{x[c + u]} * double{row[u]};
    }
    for (std::int64_t u = 0; c < dim; ++c, ++u) sum[u] += double{x[c]} * double{static_cast<float>(y[c])};
    for (std::int64_t half = exact_lanes / 2; half > 0; half /= 2)
        for (std::int64_t u = 0; u < half; ++u) sum[u] += sum[u + half];
    return sum[0];
}

}  // namespace simd

ATTENTA_END
