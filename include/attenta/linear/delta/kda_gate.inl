#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/linear/delta/kda_gate.hpp>
#include <attenta/linear/delta/kda_gate_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void check_kda_gate(const KdaGateInputs& in, Heads<float> g, const KdaGateOptions& options) {
    const char* const f = "kda_gate";
    const InputList inputs(in);
    check_memory(f, "g", g);
    check_given(f, inputs);
    for (const auto& [name, n] : {std::pair{"heads", in.x.heads}, {"tokens", in.x.tokens}, {"channels", in.x.dim}})
        if (n < 1) fail(f, "x has " + std::to_string(n) + " " + name + ", needs at least 1");
    check_shapes(f, inputs, {});
    if (options.bound && !(is_finite(*options.bound) && *options.bound < 0))
        fail(f, "bound is " + std::to_string(*options.bound) + ", needs a finite number below 0");
    checks::check_output(f, in.x.heads, in.x.tokens, in.x.dim, g, "g");
    checks::check_pointer(f, "g", g.data, sizeof(float), true);
    const bool in_place =
        g.data == in.x.data && g.head_stride == in.x.head_stride && g.token_stride == in.x.token_stride;
    for (const Input& x : static_cast<std::span<const Input>>(inputs))
        if (x.given() && !(in_place && x.view.data == in.x.data) && bytes_of(g).meets(bytes_of(x.view)))
            fail(f, std::string("g overlaps ") + x.name + ", needs memory of its own");
}

}  // namespace detail

ATTENTA_INLINE void kda_gate(const KdaGateInputs& in, Heads<float> g, const KdaGateOptions& options, Context& context) {
    detail::check_kda_gate(in, g, options);
    const Heads<const float>& x = in.x;
    constexpr std::int64_t tokens = 64;  // of a task
    const std::int64_t parts = (x.tokens + tokens - 1) / tokens;
    context.executor().parallel_for(x.heads * parts, [&, row = detail::kda_gate_row()](std::int64_t i, int) {
        const std::int64_t h = i / parts, begin = i % parts * tokens;
        const float factor = in.A.empty() ? 1.f : std::exp(in.A[static_cast<std::size_t>(h)]);
        const float* const bias = in.bias.data ? in.bias.row(h, 0) : nullptr;
        for (std::int64_t t = begin; t < std::min(begin + tokens, x.tokens); ++t)
            row(x.row(h, t), bias, factor, options.bound.value_or(0.f), x.dim, g.row(h, t));
    });
}

ATTENTA_END
