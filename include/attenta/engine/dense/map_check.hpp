// The checks of calls on feature maps.
#pragma once

#include <attenta/engine/common/checked_call.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// (n − 1) / 2 of a kernel with n² taps.
inline std::int64_t margin_of(std::int64_t taps) {
    return (static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(taps)))) - 1) / 2;
}

struct MapCheck : CheckedCall {
    using CheckedCall::CheckedCall;

    /// Of a norm or a divisor.
    void epsilon(const char* name, double eps) const {
        finite(name, eps);
        if (eps < 0) refuse(std::string(name) + " is " + std::to_string(eps) + ", needs at least 0");
    }
    /// Throws Error unless a kernel has n² taps, n odd.
    void taps(const char* name, std::int64_t count) const {
        const std::int64_t side = 2 * margin_of(count) + 1;
        if (side * side != count)
            refuse(std::string(name) + " has " + checks::text(count) + " taps, needs the square of an odd number");
    }
    void variances(const char* name, std::span<const float> x) const {
        for (std::size_t i = 0; i < x.size(); ++i)
            if (x.data()[i] < 0)
                refuse(std::string(name) + " is " + std::to_string(x.data()[i]) + " at " + std::to_string(i) +
                       ", needs at least 0");
    }
    /// An output of the sizes of the map x.
    void map(const char* name, const Heads<float>& o, const Heads<const float>& x) {
        output(name, o, x.heads, x.tokens, x.dim);
    }
};

}  // namespace detail

ATTENTA_END
