// Elementary functions as kernels: y[i] = f(x[i]).
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

namespace attenta_test {

using ElementFunction = void (*)(const float* x, float* y, std::int64_t n);
ATTENTA_DECLARE_KERNEL(ElementFunction, exp_elements)
ATTENTA_DECLARE_KERNEL(ElementFunction, exp2_nonpositive_elements)
ATTENTA_DECLARE_KERNEL(ElementFunction, softplus_elements)
ATTENTA_DECLARE_KERNEL(ElementFunction, tanh_elements)

}  // namespace attenta_test
