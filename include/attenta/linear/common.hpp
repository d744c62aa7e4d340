// What a linear mechanism needs of the engine, and what such headers share.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

ATTENTA_BEGIN

/// Options of mechanisms that have no others.
struct ScaledOptions {
    float scale = 1;          ///< of the output, any finite value
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// The inputs and options of a mechanism's function, for code that serves all mechanisms.
template <auto function>
struct LinearFunction;
template <class In, class Opt, void (*function)(const In&, Heads<float>, LinearState&, const Opt&, Context&)>
struct LinearFunction<function> {
    using Inputs = In;
    using Options = Opt;
};

namespace detail {

/// 1 / (sum of the weights + eps); what has neither is 0.
struct SumPlusEps {
    float eps = 0;

    static float factor(const void* parameters, std::int64_t, std::int64_t, float sum, float) {
        const float den = sum + static_cast<const SumPlusEps*>(parameters)->eps;
        return den == 0.f ? 0.f : 1.f / den;
    }
};

/// The positions of `tokens` tokens from `offset` on are numbers.
inline void require_offset(const char* function, std::int64_t offset, std::int64_t tokens) {
    const std::int64_t most = std::numeric_limits<std::int64_t>::max() - tokens;
    if (offset < 0) fail(function, "offset is " + std::to_string(offset) + ", needs at least 0");
    if (offset > most)
        fail(function, "offset is " + std::to_string(offset) + ", needs at most " + std::to_string(most) +
                           " in front of " + std::to_string(tokens) + " tokens");
}

inline void require_not_negative(const char* function, const char* name, float x) {
    if (!is_finite(x) || x < 0) fail(function, std::string(name) + " is " + std::to_string(x) + ", needs at least 0");
}

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#endif
