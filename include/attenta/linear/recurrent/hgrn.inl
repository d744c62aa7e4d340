#pragma once

#include <attenta/linear/recurrent/hgrn.hpp>
#include <attenta/linear/recurrent/hgrn_kernels.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void hgrn(const HgrnInputs& x, Heads<float> o, LinearState& state, const HgrnOptions& options,
                         Context& context) {
    const detail::HgrnTask p{.tied = options.input_gate == HgrnInputGate::tied};
    const elementwise::Request r{
        .function = "hgrn", .task = detail::hgrn_task(), .rows = {x.v, x.g}, .states = 1, .parameters = &p};
    elementwise::check(r, InputList(x), {}, o, state, options.check_data);
    elementwise::begin(r, state, context);
    elementwise::run(r, o, state.matrix.data(), context);
}

ATTENTA_END
