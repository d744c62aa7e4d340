#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Elementwise work on the rows of a Mega layer.
struct MegaRows {
    void (*add_sigmoid)(float* y, const float* bias, std::int64_t n);  ///< y ← σ(y + bias)
    void (*add_silu)(float* y, const float* bias, std::int64_t n);     ///< y ← silu(y + bias)
    void (*add)(float* y, const float* bias, std::int64_t n);          ///< y ← y + bias
    /// y = z ⊙ gain + bias
    void (*scale_and_shift)(const float* z, const float* gain, const float* bias, std::int64_t n, float* y);
    void (*multiply)(float* y, const float* x, std::int64_t n);  ///< y ← y ⊙ x
    /// o = residual + u ⊙ (silu(h + y + bias) − residual)
    void (*close)(const float* h, const float* y, const float* bias, const float* u, const float* residual,
                  std::int64_t n, float* o);
};
ATTENTA_DECLARE_KERNEL(MegaRows, mega_rows)

}  // namespace detail

ATTENTA_END
