#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/eviction/window_scores.hpp>
#include <attenta/kv/policies/kvzap.hpp>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds Kvzap::needs(const EvictionShape& shape) {
    eviction::require_at_least("kvzap", "window", options_.window, 0);
    if (!options_.threshold || !is_finite(*options_.threshold))
        fail("kvzap", "threshold is " + (options_.threshold ? std::to_string(*options_.threshold) : "not given") +
                          ", needs a finite number");
    score_.check(shape, "a finite number", is_finite);
    return {.columns = 1, .rows = true};
}

namespace detail {

/// x·w + b [tokens, columns of w]
inline std::vector<double> layer(const std::vector<double>& x, std::size_t tokens, Matrices<const float> w,
                                 std::span<const float> b) {
    const auto in = static_cast<std::size_t>(w.rows), out = static_cast<std::size_t>(w.cols);
    std::vector<double> y(tokens * out);
    for (std::size_t t = 0; t < tokens; ++t) {
        double* const to = y.data() + t * out;
        for (std::size_t c = 0; c < out; ++c) to[c] = b[c];
        for (std::size_t i = 0; i < in; ++i) {
            const float* const row = w.row(0, static_cast<std::int64_t>(i));
            for (std::size_t c = 0; c < out; ++c) to[c] += x[t * in + i] * double{row[c]};
        }
    }
    return y;
}

inline double gelu(double x) { return x / 2 * (1 + std::erf(x / std::numbers::sqrt2)); }

}  // namespace detail

ATTENTA_INLINE std::vector<float> kvzap_scores(const KvzapInputs& x) {
    const InputList inputs(x);
    check_given("kvzap", inputs);
    check_shapes("kvzap", inputs, {});
    if (x.w2.data != nullptr && x.b2.empty()) fail("kvzap", "w2 is given without b2, needs both or neither");
    if (x.w2.data == nullptr && !x.b2.empty()) fail("kvzap", "b2 is given without w2, needs both or neither");
    std::vector<double> y;
    for (std::int64_t t = 0; t < x.hidden.rows; ++t)
        y.insert(y.end(), x.hidden.row(0, t), x.hidden.row(0, t) + x.hidden.cols);
    const auto tokens = static_cast<std::size_t>(x.hidden.rows);
    y = detail::layer(y, tokens, x.w1, x.b1);
    if (x.w2) {
        for (double& n : y) n = detail::gelu(n);
        y = detail::layer(y, tokens, x.w2, x.b2);
    }
    return {y.begin(), y.end()};
}

ATTENTA_END
