#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace features {

/// Features of norm_aware.hpp, [2 dim].
struct NormAware {
    enum Kind : std::uint8_t { split, angle_tanh, angle_direction };
    Kind kind = split;
    bool query = false;
    float power = 3, alpha = 20;
    const float *cos = nullptr,
                *sin = nullptr;  ///< [.., dim] turn both halves of the features, by row position + offset; or null
    std::int64_t cos_stride = 0, sin_stride = 0, offset = 0;
};
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, norm_aware_features)

}  // namespace features

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/norm_aware_kernels.inl>
#endif
