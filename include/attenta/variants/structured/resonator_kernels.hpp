#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// A vector, with its imaginary parts or without.
struct ComplexRow {
    const float *re = nullptr, *im = nullptr;
};

/// y = s ⊙ Π_{j≠without} conj(e_j) for `n` channels, estimates at strides; imaginary parts in all or in none.
struct Unbinding {
    ComplexRow s, estimates;
    std::int64_t stride = 0, stride_im = 0, count = 0, without = 0, n = 0;
    float *y = nullptr, *y_im = nullptr;
};
using UnbindFunction = void (*)(const Unbinding& u);
ATTENTA_DECLARE_KERNEL(UnbindFunction, unbind)

/// z ← its sign, the real part's; z ← z / |z|, 0 where it is 0; z ← z √n / norm. `im` may be null.
using ProjectRow = void (*)(float* re, float* im, std::int64_t n);
struct Projections {
    ProjectRow sign, phase, l2;
};
ATTENTA_DECLARE_KERNEL(Projections, projections)

}  // namespace structured

ATTENTA_END
