#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/damped_ema_kernels.hpp>

#include <cstdint>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void damped_ema(const DampedEmaInputs& x, Matrices<float> o, LinearState& state,
                               const DampedEmaOptions& options, Context& context) {
    const char* f = "damped_ema";
    detail::DampedEmaTask p{.delta = x.delta,
                            .alpha = x.alpha,
                            .beta = x.beta,
                            .gamma = x.gamma,
                            .omega = x.omega.data(),
                            .silu = options.activation == EmaActivation::silu};
    elementwise::Request r{.function = f,
                           .task = detail::damped_ema_task(),
                           .rows = {Heads<const float>{x.x.data, 1, x.x.rows, x.x.cols, 0, x.x.row_stride}},
                           .states = p.states(),
                           .work = p.states(),
                           .parameters = &p};
    const Heads<float> out{o.data, 1, o.rows, o.cols, 0, o.row_stride};
    LetterSizes letters;
    letters.set("M", options.bidirectional ? saturating::multiply(2, x.x.cols) : x.x.cols);
    elementwise::check(r, InputList(x), letters, out, state, options.check_data);
    if (options.bidirectional && !state.empty()) fail(f, "state has a past, bidirectional needs it to be empty");
    r.scratch_rows = p.rows();
    if (!options.bidirectional) {
        elementwise::begin(r, state, context);
        return elementwise::run(r, out, state.matrix.data(), context);
    }
    const detail::DampedEmaTask forward = p;
    for (Matrices<const float>* m : {&p.delta, &p.alpha, &p.beta, &p.gamma})
        m->data += x.x.cols * m->row_stride, m->rows = x.x.cols;
    p.omega = nullptr, p.silu = false;
    r.backwards = true;
    elementwise::run(r, out, nullptr, context);
    r.rows[1] = out;
    r.backwards = false;
    r.parameters = &forward;
    elementwise::run(r, out, nullptr, context);
}

ATTENTA_END
