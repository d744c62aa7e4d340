// The usual factor of scores.
#pragma once

#include <attenta/core/config.hpp>

#include <cmath>
#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace detail {

/// 1/sqrt(D) where no scale is given.
inline float scale_or_default(const std::optional<float>& scale, std::int64_t dim) {
    return scale.value_or(1.f / std::sqrt(static_cast<float>(dim)));
}

}  // namespace detail

ATTENTA_END
