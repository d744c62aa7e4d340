#pragma once

#include <attenta/engine/dense/maps.hpp>
#include <attenta/gating/kernels.hpp>
#include <attenta/gating/residual_attention.hpp>

ATTENTA_BEGIN

namespace detail {

inline void unit_gates(const ResidualAttentionInputs& x, Heads<float> o, float eps, float more, Context& context) {
    const dense::MapRuns runs = dense::runs_of(x.x, x.mask, o);
    for_rows(context, runs.count, runs.length, gating::UnitGate::most,
             [&](std::int64_t run, std::int64_t begin, std::int64_t end) {
                 gating::unit_gate_positions()({x.x.row(0, run) + begin, x.mask.row(0, run) + begin,
                                                o.row(0, run) + begin, x.x.head_stride, x.mask.head_stride,
                                                o.head_stride, x.x.heads, end - begin, eps, more});
             });
}

inline void sigmoid_gates(const ResidualAttentionInputs& x, Heads<float> o, const ResidualAttentionOptions& options,
                          float more, Context& context) {
    const dense::MapRuns runs = dense::runs_of(x.x, x.mask, o);
    context.executor().parallel_for(x.x.heads, [&](std::int64_t c, int) {
        gating::SigmoidGate gate{.more = more, .n = runs.length};
        if (options.activation == ResidualActivation::spatial) {
            const gating::Moments m =
                gating::run_moments()({x.mask.row(c, 0), runs.count, runs.length, x.mask.token_stride});
            gate.shift = m.mean;
            gate.factor = 1.f / (m.deviation + options.eps);
        }
        for (std::int64_t r = 0; r < runs.count; ++r) {
            gate.x = x.x.row(c, r), gate.m = x.mask.row(c, r), gate.o = o.row(c, r);
            gating::sigmoid_gate_row()(gate);
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void residual_attention(const ResidualAttentionInputs& x, Heads<float> o,
                                       const ResidualAttentionOptions& options, Context& context) {
    detail::MapCheck check("residual_attention", InputList(x));
    check.epsilon("eps", options.eps);
    check.numbers(options.check_data);
    check.map("o", o, x.x);
    const float more = options.residual ? 1.f : 0.f;
    if (options.activation == ResidualActivation::channel) return detail::unit_gates(x, o, options.eps, more, context);
    detail::sigmoid_gates(x, o, options, more, context);
}

ATTENTA_END
