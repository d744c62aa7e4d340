// What the headers of linear mechanisms share.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// The usual factor of the outputs.
inline float scale_or_default(const std::optional<float>& scale, std::int64_t dim) {
    return scale.value_or(1.f / std::sqrt(static_cast<float>(dim)));
}

inline void require_not_negative(const char* function, const char* name, float x) {
    if (!is_finite(x) || x < 0) fail(function, std::string(name) + " is " + std::to_string(x) + ", needs at least 0");
}

}  // namespace detail

ATTENTA_END
