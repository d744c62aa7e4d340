#pragma once

#include <attenta/variants/structured/sdm_tables.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace sdm_tables {

namespace detail {

inline constexpr double nothing = -std::numeric_limits<double>::infinity();

/// ln(e^a + e^b)
inline double add_logs(double a, double b) {
    const double top = std::max(a, b);
    return top == nothing ? top : top + std::log1p(std::exp(std::min(a, b) - top));
}

inline double log_choose(std::int64_t n, std::int64_t k) {
    const auto log_factorial = [](std::int64_t i) { return std::lgamma(static_cast<double>(i) + 1); };
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k);
}

inline double half_angle(std::int64_t n, std::int64_t radius) {
    return std::acos(1 - 2 * static_cast<double>(radius) / static_cast<double>(n));
}

/// ln ∫ of the caps' integrand over a = θ − s² for s in [low, high]: its root at θ is smooth in s.
inline double log_piece(std::int64_t n, double theta, double low, double high) {
    // Gauss and Legendre, 8 points.
    constexpr std::array<double, 4> place{0.1834346424956498, 0.5255324099163290, 0.7966664774136267,
                                          0.9602898564975363},
        weight{0.3626837833783620, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763};
    const double middle = (low + high) / 2, half = (high - low) / 2, power = static_cast<double>(n - 2) / 2;
    double sum = nothing;
    for (std::size_t i = 0; i < place.size(); ++i)
        for (const double sign : {-1.0, 1.0}) {
            const double s = middle + sign * half * place.at(i), a = theta - s * s;
            // cos²a − cos²θ = sin(θ + a) sin(θ − a), without cancellation.
            const double base = std::sin(theta + a) * std::sin(s * s) / (std::cos(a) * std::cos(a));
            sum = add_logs(sum, power * std::log(base) + std::log(2 * s * weight.at(i) * half));
        }
    return sum;
}

}  // namespace detail

ATTENTA_INLINE std::vector<double> balls(std::int64_t n, std::int64_t radius) {
    std::vector<double> logs(static_cast<std::size_t>(n + 1), detail::nothing);
    double sum = detail::nothing;
    for (std::int64_t j = 2 * radius + 1; j >= 1; j -= 2) {
        const std::int64_t half = (j - 1) / 2;
        sum = detail::add_logs(sum, detail::log_choose(j - 1, half) + detail::log_choose(n - j, radius - half));
        for (const std::int64_t d : {j - 1, j - 2})
            if (d >= 0 && d <= n) logs[static_cast<std::size_t>(d)] = sum;
    }
    for (double& log : logs) log -= sum;
    return logs;
}

ATTENTA_INLINE std::vector<double> caps(std::int64_t n, std::int64_t radius, std::span<const double> angles) {
    const double theta = detail::half_angle(n, radius), longest = std::sqrt(theta) / 256;
    std::vector<double> logs(angles.size());
    double sum = detail::nothing, from = 0;
    const auto advance = [&](double angle) {
        const double to = std::sqrt(std::max(0.0, theta - angle)), pieces = std::ceil((to - from) / longest);
        const double step = pieces > 0 ? (to - from) / pieces : 0;
        for (double i = 0; i < pieces; ++i)
            sum = detail::add_logs(sum, detail::log_piece(n, theta, from + i * step, from + (i + 1) * step));
        from = to;
    };
    for (std::size_t i = angles.size(); i-- > 0;) {
        advance(angles[i]);
        logs[i] = sum;
    }
    advance(0);
    for (double& log : logs) log -= sum;
    return logs;
}

ATTENTA_INLINE double fitted_beta(std::int64_t n, std::int64_t radius, std::span<const double> logs,
                                  std::int64_t ddof) {
    const auto x = [n](std::int64_t d) { return 1 - 2 * static_cast<double>(d) / static_cast<double>(n); };
    const auto count = static_cast<double>(radius);
    double mean_x = 0, mean_y = 0, together = 0, squares = 0;
    for (std::int64_t d = 0; d < radius; ++d) {
        mean_x += x(d) / count;
        mean_y += logs[static_cast<std::size_t>(d)] / count;
    }
    for (std::int64_t d = 0; d < radius; ++d) {
        together += (x(d) - mean_x) * (logs[static_cast<std::size_t>(d)] - mean_y);
        squares += (x(d) - mean_x) * (x(d) - mean_x);
    }
    return together / static_cast<double>(radius - ddof) / (squares / count);
}

ATTENTA_INLINE CapSpline cap_spline(std::int64_t n, std::int64_t radius) {
    constexpr std::int64_t pieces = CapSpline::pieces;
    const double theta = detail::half_angle(n, radius), reach = std::sin(theta), power = static_cast<double>(n) / 2;
    std::vector<double> angles, smooth;
    for (std::int64_t i = 0; i < pieces; ++i)
        angles.push_back(std::asin(reach * static_cast<double>(i) / static_cast<double>(pieces)));
    // Near θ the integrand is a power of θ − a: the last value is a limit, relative to the others by their common sum.
    smooth = caps(n, radius, angles);
    for (std::size_t i = 0; i < smooth.size(); ++i)
        smooth[i] -= power * std::log1p(-static_cast<double>(i) / static_cast<double>(pieces));
    // Four points before it give the last one; the curve is smooth there.
    const std::size_t last = smooth.size() - 1;
    smooth.push_back(4 * smooth[last] - 6 * smooth[last - 1] + 4 * smooth[last - 2] - smooth[last - 3]);

    CapSpline spline{{}, static_cast<float>(reach), static_cast<float>(power)};
    for (std::int64_t i = 0; i < pieces; ++i) {
        const std::int64_t first = std::clamp<std::int64_t>(i - 1, 0, pieces - 3);
        const double* const y = smooth.data() + first;
        // The cubic through four points, moved to the interval's own place.
        const double second = y[2] - 2 * y[1] + y[0], third = y[3] - 3 * y[2] + 3 * y[1] - y[0], a = y[0],
                     b = y[1] - y[0] - second / 2 + third / 3, c = (second - third) / 2, d = third / 6,
                     t = static_cast<double>(i - first);
        for (const double coefficient : {a + t * (b + t * (c + t * d)), b + t * (2 * c + 3 * t * d), c + 3 * t * d, d})
            spline.coefficients.push_back(static_cast<float>(coefficient));
    }
    return spline;
}

}  // namespace sdm_tables

ATTENTA_END
