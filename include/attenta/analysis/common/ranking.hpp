// Orders of numbers: equal ones keep the order that they have.
#pragma once

#include <attenta/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

template <class Before>
std::vector<std::int64_t> order_of(std::int64_t n, Before&& before) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), before);
    return order;
}

/// Indices from the largest number to the smallest.
template <class T>
std::vector<std::int64_t> descending(std::span<const T> x) {
    return order_of(std::ssize(x), [x](std::int64_t a, std::int64_t b) {
        return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)];
    });
}
template <class T>
std::vector<std::int64_t> ascending(std::span<const T> x) {
    return order_of(std::ssize(x), [x](std::int64_t a, std::int64_t b) {
        return x[static_cast<std::size_t>(a)] < x[static_cast<std::size_t>(b)];
    });
}

/// The `top` largest of n numbers, from the largest on, in one pass: few numbers displace one of those found so far.
inline void largest(const float* x, std::int64_t n, std::int64_t top, std::int64_t* to) {
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        if (found == top && !(x[i] > x[to[top - 1]])) continue;
        std::int64_t place = found < top ? found++ : top - 1;
        for (; place > 0 && x[i] > x[to[place - 1]]; --place) to[place] = to[place - 1];
        to[place] = i;
    }
}

}  // namespace analysis

ATTENTA_END
