#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/linear/recurrent/causal_conv.hpp>
#include <attenta/linear/recurrent/causal_conv_kernels.hpp>

#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline CausalConvTask conv_task(const CausalConvInputs& x, const CausalConvOptions& options) {
    return {.weight = x.weight,
            .bias = x.bias,
            .silu = options.activation.has_value(),
            .residual = options.residual,
            .at = options.at ? std::span<const std::int64_t>(*options.at) : std::span<const std::int64_t>(),
            .state_at = options.state_at};
}

/// The taps are not known to be any yet.
inline elementwise::Request conv_request(const char* function, const CausalConvInputs& x, const CausalConvTask& p) {
    return {.function = function,
            .task = causal_conv_task(),
            .rows = {x.x},
            .states = p.taps() < 1 ? 0 : p.taps() - 1,
            .parameters = &p};
}

inline void check_states_at(const CausalConvInputs& x, Heads<float> o, std::int64_t kept, const LinearState& state,
                            const CausalConvOptions& options) {
    const char* f = "causal_conv";
    const std::string tokens = std::to_string(x.x.tokens);
    for (const std::int64_t n : *options.at)
        if (n < 0 || n > x.x.tokens)
            fail(f, "at has " + std::to_string(n) + ", needs counts from 0 to the " + tokens + " tokens of x");
    const auto count = static_cast<std::int64_t>(options.at->size());
    const std::int64_t size = saturating::multiply(count, checks::elements(x.x.heads, kept, x.x.dim));
    if (size == 0) return;
    if (size > checks::most_elements)
        fail(f, "at asks for " + std::to_string(count) + " states, memory does not hold as many elements");
    checks::check_pointer(f, "state_at", options.state_at, sizeof(float), true);
    const Bytes out = Bytes::of(options.state_at, size * static_cast<std::int64_t>(sizeof(float)));
    if (out.meets(bytes_of(o))) fail(f, "state_at overlaps o, needs memory of its own");
    if (out.meets(bytes_of(std::span(state.matrix)))) fail(f, "state_at overlaps state, needs memory of its own");
    const InputList inputs(x);
    for (const Input& in : std::span<const Input>(inputs))
        if (in.given() && out.meets(bytes_of(in.view)))
            fail(f, std::string("state_at overlaps ") + in.name + ", needs memory of its own");
}

}  // namespace detail

ATTENTA_INLINE void causal_conv(const CausalConvInputs& x, Heads<float> o, LinearState& state,
                                const CausalConvOptions& options, Context& context) {
    const detail::CausalConvTask p = detail::conv_task(x, options);
    elementwise::Request r = detail::conv_request("causal_conv", x, p);
    elementwise::check(r, InputList(x), {}, o, state, options.check_data);
    if (options.at) detail::check_states_at(x, o, r.states, state, options);
    r.scratch_rows = p.taps() + 1;
    elementwise::begin(r, state, context);
    elementwise::run(r, o, state.matrix.data(), context);
}

ATTENTA_INLINE void causal_conv_sequences(const CausalConvInputs& x, Heads<float> o,
                                          const elementwise::Sequences& sequences, const CausalConvOptions& options,
                                          Context& context) {
    const detail::CausalConvTask p = detail::conv_task(x, options);
    elementwise::Request r = detail::conv_request("causal_conv_sequences", x, p);
    elementwise::check(r, InputList(x), {}, o, sequences, options.check_data, context);
    if (options.at) fail("causal_conv_sequences", "at is given, needs a call of causal_conv for each sequence");
    r.scratch_rows = p.taps() + 1;
    elementwise::run(r, o, sequences, context);
}

ATTENTA_END
