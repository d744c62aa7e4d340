#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/mamba2.hpp>
#include <attenta/linear/mamba2_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

ATTENTA_BEGIN

namespace detail {

inline void check_mamba2(Heads<const float> x, Heads<const float> dt, std::span<const float> A, Heads<const float> B,
                         Heads<const float> C, const Mamba2Options& options) {
    const char* f = "mamba2";
    const auto heads = [&](const char* name, std::size_t n) {
        if (static_cast<std::int64_t>(n) != x.heads)
            fail(f, std::string(name) + " has " + std::to_string(n) + " elements, needs the " +
                        std::to_string(x.heads) + " heads of x");
    };
    require(f, "dt", dt);
    scan::check_shape(f, "dt", dt, x.heads, x.tokens, 1);
    heads("A", A.size());
    if (!options.dt_bias.empty()) heads("dt_bias", options.dt_bias.size());
    scan::check_shape(f, "B", B, B.heads, x.tokens, B.dim);
    scan::check_shape(f, "C", C, B.heads, x.tokens, B.dim);
    if (options.D.data) scan::check_shape(f, "D", options.D, x.heads, 1, options.D.dim == 1 ? 1 : x.dim);
    if (options.z.data) scan::check_shape(f, "z", options.z, x.heads, x.tokens, x.dim);
    if (options.dt_limit && !((*options.dt_limit)[0] <= (*options.dt_limit)[1]))
        fail(f, "dt_limit is [" + std::to_string((*options.dt_limit)[0]) + ", " +
                    std::to_string((*options.dt_limit)[1]) + "], needs low <= high");
}

/// The steps dt and the gates dt A of all tokens, [H, T] each.
inline void fill_steps(Heads<const float> dt, std::span<const float> A, const Mamba2Options& options, float* steps,
                       float* gates) {
    const float low = options.dt_limit ? (*options.dt_limit)[0] : 0.f,
                high = options.dt_limit ? (*options.dt_limit)[1] : std::numeric_limits<float>::infinity();
    for (std::int64_t h = 0; h < dt.heads; ++h) {
        const auto head = static_cast<std::size_t>(h);
        const float bias = options.dt_bias.empty() ? 0.f : options.dt_bias[head];
        for (std::int64_t t = 0; t < dt.tokens; ++t) {
            float s = dt.row(h, t)[0] + bias;
            if (options.dt_softplus) s = std::max(s, 0.f) + std::log1p(std::exp(-std::abs(s)));
            s = s < low ? low : s > high ? high : s;  // NaN stays
            *steps++ = s;
            *gates++ = s * A[head];
        }
    }
}

}  // namespace detail

ATTENTA_INLINE void mamba2(Heads<const float> x, Heads<const float> dt, std::span<const float> A, Heads<const float> B,
                           Heads<const float> C, Heads<float> o, LinearState& state, const Mamba2Options& options,
                           Context& context) {
    detail::check_mamba2(x, dt, A, B, C, options);
    const scan::Named others[] = {{"dt", dt},
                                  {"A", detail::tensor_of("mamba2", "A", A)},
                                  {"dt_bias", detail::tensor_of("mamba2", "dt_bias", options.dt_bias)},
                                  {"D", options.D},
                                  {"z", options.z}};
    scan::Request r{.function = "mamba2", .q = C, .k = B, .v = x};
    r.state_heads = x.heads;
    r.others = others;
    r.q_name = "C", r.k_name = "B", r.v_name = "x", r.g_name = "dt A", r.beta_name = nullptr;
    scan::check(r, o, state, false);
    for (const float a : A)
        if (a >= 0) fail("mamba2", "A is " + std::to_string(a) + ", needs a number < 0");

    const std::int64_t elements = x.heads * x.tokens;
    const detail::InlineArray<float, 256> numbers(2 * elements);
    float *const steps = numbers.data(), *const gates = steps + elements;
    detail::fill_steps(dt, A, options, steps, gates);
    r.g = hnd(static_cast<const float*>(gates), x.heads, x.tokens, 1);
    r.beta = hnd(static_cast<const float*>(steps), x.heads, x.tokens, 1);
    if (options.check_data) scan::check(r, o, state, true);
    scan::run(r, o, state, context);
    if (!options.D.data && !options.z.data) return;
    const SkipAndGate finish = skip_and_gate();
    context.executor().parallel_for(x.heads, [&](std::int64_t h, int) {
        for (std::int64_t t = 0; t < x.tokens; ++t)
            finish(o.row(h, t), x.row(h, t), options.D.data ? options.D.row(h, 0) : nullptr, options.D.dim > 1,
                   options.z.data ? options.z.row(h, t) : nullptr, x.dim);
    });
}

ATTENTA_END
