// Arrays for the time of a read-out, and places for outputs that nobody wants but another one is made of.
#pragma once

#include <attenta/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

template <class T>
class Arrays {
public:
    /// n zeros.
    T* take(std::int64_t n) { return arrays_.emplace_back(static_cast<std::size_t>(n)).data(); }
    T* wanted_or_own(T* wanted, std::int64_t n) { return wanted ? wanted : take(n); }

private:
    std::deque<std::vector<T>> arrays_;
};

/// n equal numbers, to form sums as products of matrices.
inline std::vector<float> equal_numbers(std::int64_t n, float x) {
    return std::vector<float>(static_cast<std::size_t>(n), x);
}

}  // namespace analysis

ATTENTA_END
