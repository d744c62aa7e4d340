#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/decay/mamba2.hpp>
#include <attenta/linear/decay/mamba2_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

ATTENTA_BEGIN

namespace detail {

/// The steps dt and the gates dt A of all tokens, [H, T] each.
inline void fill_steps(const Mamba2Inputs& x, const Mamba2Options& options, float* steps, float* gates) {
    const float low = options.dt_limit ? (*options.dt_limit)[0] : 0.f,
                high = options.dt_limit ? (*options.dt_limit)[1] : std::numeric_limits<float>::infinity();
    for (std::int64_t h = 0; h < x.dt.heads; ++h) {
        const auto head = static_cast<std::size_t>(h);
        const float bias = x.dt_bias.empty() ? 0.f : x.dt_bias[head];
        for (std::int64_t t = 0; t < x.dt.tokens; ++t) {
            float s = x.dt.row(h, t)[0] + bias;
            if (options.dt_softplus) s = std::max(s, 0.f) + std::log1p(std::exp(-std::abs(s)));
            s = s < low ? low : s > high ? high : s;  // NaN stays
            *steps++ = s;
            *gates++ = s * x.A[head];
        }
    }
}

}  // namespace detail

ATTENTA_INLINE void mamba2(const Mamba2Inputs& x, Heads<float> o, LinearState& state, const Mamba2Options& options,
                           Context& context) {
    scan::Request r{.function = "mamba2", .q = x.C, .k = x.B, .v = x.x};
    r.state_heads = x.x.heads;
    r.keeps_states = true;
    if (options.dt_limit && !((*options.dt_limit)[0] <= (*options.dt_limit)[1]))
        fail("mamba2", "dt_limit is [" + std::to_string((*options.dt_limit)[0]) + ", " +
                           std::to_string((*options.dt_limit)[1]) + "], needs low <= high");
    scan::check(r, InputList(x), o, state, options.check_data);
    for (const float a : x.A)
        if (a >= 0) fail("mamba2", "A is " + std::to_string(a) + ", needs a number < 0");

    const std::int64_t elements = x.x.heads * x.x.tokens;
    const detail::InlineArray<float, 256> numbers(2 * elements);
    float *const steps = numbers.data(), *const gates = steps + elements;
    detail::fill_steps(x, options, steps, gates);
    r.g = hnd(static_cast<const float*>(gates), x.x.heads, x.x.tokens, 1);
    r.beta = hnd(static_cast<const float*>(steps), x.x.heads, x.x.tokens, 1);
    if (options.check_data) check_numbers("mamba2", "dt A", r.g, true);
    scan::run(r, o, state, context);
    if (!x.D.data && !x.z.data) return;
    const SkipAndGate finish = skip_and_gate();
    context.executor().parallel_for(x.x.heads, [&](std::int64_t h, int) {
        for (std::int64_t t = 0; t < x.x.tokens; ++t)
            finish(o.row(h, t), x.x.row(h, t), x.D.data ? x.D.row(h, 0) : nullptr, x.D.dim > 1,
                   x.z.data ? x.z.row(h, t) : nullptr, x.x.dim);
    });
}

ATTENTA_END
