#pragma once

#include <attenta/linear/recurrent/rwkv4_wkv.hpp>
#include <attenta/linear/recurrent/wkv_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

ATTENTA_INLINE void rwkv4_wkv(const Rwkv4WkvInputs& x, Heads<float> o, LinearState& state,
                              const Rwkv4WkvOptions& options, Context& context) {
    const detail::Rwkv4Task p{.g = x.g, .u = x.u};
    const elementwise::Request r{.function = "rwkv4_wkv",
                                 .task = detail::rwkv4_task(),
                                 .rows = {x.k, x.v, x.r},
                                 .states = 3,
                                 .scratch_rows = 2,
                                 .work = 2,
                                 .parameters = &p};
    elementwise::check(r, InputList(x), {}, o, state, options.check_data);
    const bool is_new = state.empty();
    elementwise::begin(r, state, context);
    for (std::int64_t h = 0; is_new && h < state.heads; ++h)
        std::fill_n(state.of(h) + 2 * state.dim_v, state.dim_v, detail::wkv_no_terms);
    elementwise::run(r, o, state.matrix.data(), context);
}

ATTENTA_END
