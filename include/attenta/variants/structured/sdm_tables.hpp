// What two balls around points share, of binary addresses and on the sphere: the weights of a sparse distributed memory. Kanerva 1988;
// Bricken and Pehlevan 2021, "Attention Approximates Sparse Distributed Memory".
//
// Binary, n bits and radius r < n/2:  I(d) = Σ_{odd j > d, j ≤ 2r + 1} C(j − 1, (j − 1)/2) C(n − j, r − (j − 1)/2)
// Caps of half-angle θ = arccos(1 − 2r/n) on the sphere of n dimensions, centres 2α apart:
//   J(α) ∝ ∫_α^θ (1 − cos²θ / cos²a)^((n − 2)/2) da      (the derivative of the shared surface is that of its waist)
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace sdm_tables {

/// ln(I(d) / I(0)) for d = 0 .. n, −∞ where the balls are apart.
std::vector<double> balls(std::int64_t n, std::int64_t radius);

/// ln(J(α) / J(0)) for rising angles α below θ.
std::vector<double> caps(std::int64_t n, std::int64_t radius, std::span<const double> angles);

/// The slope of the least-squares line of logs[d] against 1 − 2d/n, d = 0 .. radius − 1; `ddof` 1 divides the covariance alone by
/// one less.
double fitted_beta(std::int64_t n, std::int64_t radius, std::span<const double> logs, std::int64_t ddof);

/// ln(J / J(0)) by the distance y = sin α of the centres, 0 .. sin θ: a cubic in each of `pieces` intervals, and power · ln(1 −
/// y / sin θ), which it tends to at the end.
struct CapSpline {
    static constexpr std::int64_t pieces = 512;

    std::vector<float> coefficients;  ///< [pieces, 4] of rising powers of the place in an interval, 0 .. 1
    float reach = 0, power = 0;       ///< sin θ, n / 2
};
CapSpline cap_spline(std::int64_t n, std::int64_t radius);

}  // namespace sdm_tables

ATTENTA_END
