#pragma once

#include <attenta/linear/recurrent/mamba.hpp>
#include <attenta/linear/recurrent/mamba_kernels.hpp>

#include <cstdint>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Growth: A > 0, with euler A = 0 as well; dt < 0 where no softplus follows.
inline void check_mamba_numbers(const MambaInputs& x, const MambaOptions& options) {
    const bool zoh = options.discretization == MambaDiscretization::zoh;
    for (std::int64_t h = 0; h < x.A.heads; ++h)
        for (std::int64_t p = 0; p < x.A.tokens; ++p)
            for (std::int64_t n = 0; n < x.A.dim; ++n)
                if (const float a = x.A.row(h, p)[n]; zoh ? a > 0 : a >= 0)
                    fail("mamba", "A is " + std::to_string(a) + ", needs a number " + (zoh ? "<= 0" : "< 0"));
    if (options.dt_softplus) return;
    for (std::int64_t h = 0; h < x.dt.heads; ++h)
        for (std::int64_t t = 0; t < x.dt.tokens; ++t)
            for (std::int64_t p = 0; p < x.dt.dim; ++p) {
                const float bias = x.dt_bias.data ? x.dt_bias.row(h, 0)[p] : 0.f, dt = x.dt.row(h, t)[p] + bias;
                if (dt < 0) fail("mamba", "dt is " + std::to_string(dt) + ", needs at least 0 without dt_softplus");
            }
}

}  // namespace detail

ATTENTA_INLINE void mamba(const MambaInputs& x, Heads<float> o, LinearState& state, const MambaOptions& options,
                          Context& context) {
    const detail::MambaTask p{.A = x.A,
                              .B = x.B,
                              .C = x.C,
                              .D = x.D,
                              .dt_bias = x.dt_bias,
                              .softplus = options.dt_softplus,
                              .zoh = options.discretization == MambaDiscretization::zoh};
    elementwise::Request r{.function = "mamba",
                           .task = detail::mamba_task(),
                           .rows = {x.x, x.dt, x.z},
                           .states = p.states(),
                           .work = p.states(),
                           .parameters = &p};
    elementwise::check(r, InputList(x), {}, o, state, options.check_data);
    if (x.x.heads % x.B.heads != 0)
        fail("mamba", "B has " + std::to_string(x.B.heads) + " heads, needs a divisor of the " +
                          std::to_string(x.x.heads) + " of x");
    if (options.check_data) detail::check_mamba_numbers(x, options);
    r.scratch_rows = p.rows();
    elementwise::begin(r, state, context);
    elementwise::run(r, o, state.matrix.data(), context);
}

ATTENTA_END
