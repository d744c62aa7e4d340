// Random numbers that are the same everywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace attenta_test {

/// SplitMix64 (Steele et al. 2014): unlike the standard distributions, the same numbers in every library.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
    /// low .. high, both included.
    std::int64_t integer(std::int64_t low, std::int64_t high) {
        return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
    }
    bool chance(double p) { return uniform() < p; }
    /// Box and Muller.
    float normal() {
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));
        return static_cast<float>(radius * std::cos(2 * std::numbers::pi * uniform()));
    }
    template <class T>
    T pick(const std::vector<T>& choices) {
        return choices[static_cast<std::size_t>(integer(0, static_cast<std::int64_t>(choices.size()) - 1))];
    }
    std::vector<float> normals(std::int64_t n) {
        std::vector<float> x(static_cast<std::size_t>(n));
        for (float& e : x) e = normal();
        return x;
    }
    /// 0 .. n-1 in random order.
    std::vector<std::int32_t> permutation(std::int64_t n) {
        std::vector<std::int32_t> p(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < p.size(); ++i) {
            p[i] = static_cast<std::int32_t>(i);
            std::swap(p[i], p[static_cast<std::size_t>(integer(0, static_cast<std::int64_t>(i)))]);
        }
        return p;
    }

private:
    std::uint64_t state_;
};

}  // namespace attenta_test
