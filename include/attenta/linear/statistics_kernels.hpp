// What mechanisms measure of all keys or queries before they run.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Each channel of `top` [dim] becomes the largest of it and the head's keys times `factor`, where NaN and infinities do not
/// count.
using RaiseToKeys = void (*)(Heads<const float> k, std::int64_t head, float factor, float* top);
ATTENTA_DECLARE_KERNEL(RaiseToKeys, raise_to_keys)

/// Sums over all finite numbers.
struct Moments {
    double count = 0, sum = 0, squares = 0;
};
/// Of all heads, in double. `scratch` has 2 dim numbers.
using MomentsFunction = Moments (*)(Heads<const float> x, double* scratch);
ATTENTA_DECLARE_KERNEL(MomentsFunction, moments)

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/statistics_kernels.inl>
#endif
