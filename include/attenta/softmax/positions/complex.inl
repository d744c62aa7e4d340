#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/softmax/own_keys.hpp>
#include <attenta/softmax/positions/complex.hpp>
#include <attenta/softmax/positions/complex_kernels.hpp>
#include <attenta/softmax/positions/prepared_rows.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace detail {

/// Rows of x for the heads of `to`, a group of which shares a head of x, with their phases and the rotations of their
/// positions; token t stands at first + t.
inline void turn_phases(const Heads<const float>& x, std::int64_t first, std::span<const double> frequencies,
                        const Matrices<const float>& delta, const Matrices<const float>& bias, const Heads<float>& to,
                        Context& context) {
    constexpr std::int64_t together = 16;  // tokens of a task
    const std::int64_t pairs = x.dim / 2, group = to.heads / x.heads;
    auto& room = context.kept<RotaryScratch>().angles;
    room.resize(static_cast<std::size_t>(x.dim * context.executor().concurrency()));
    const rotary::RotateRow rotate = rotary::rotate_rows(active_isa()).of(Dtype::f32);
    const ScalePhases scale = scale_phases();
    run_tasks(context.executor(), ceil_div(x.tokens, together), [&](std::int64_t task, int slot) {
        float* const angles = room.data() + slot * x.dim;
        for (std::int64_t t = task * together; t < std::min(x.tokens, (task + 1) * together); ++t) {
            rotary::set_angles(frequencies, static_cast<double>(first + t), 1, false, angles);
            for (std::int64_t h = 0; h < to.heads; ++h) {
                float* const row = to.row(h, t);
                scale(x.row(h / group, t), pairs, delta.data + h * delta.row_stride,
                      bias ? bias.data + h * bias.row_stride : nullptr, row);
                rotate(row, angles, pairs, false, x.dim, row);
            }
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void complex(const ComplexInputs& x, const SoftmaxOutputs& out, const ComplexOptions& options,
                            Context& context) {
    const char* const f = "complex";
    detail::check_rotary_base(f, "base", options.base);
    if (x.q.dim % 2 != 0) fail(f, "q has " + checks::text(x.q.dim) + " features, needs an even number");
    detail::SoftmaxCall call =
        detail::check_softmax_tensors(f, x, out, options.scale.value_or(1.f), options.visibility, context);
    detail::CallMemory<detail::PreparedMemory> memory(x.q.tokens, context);
    const Heads<float> q = memory->queries(x.q.heads, x.q.tokens, x.q.dim),
                       k = memory->keys(x.q.heads, x.k.tokens, x.k.dim);
    rotary::set_frequencies(memory->frequencies, x.q.dim, options.base);
    detail::turn_phases(x.q, call.first_position(), memory->frequencies, x.delta, x.phase_bias, q, context);
    detail::turn_phases(x.k, 0, memory->frequencies, x.delta, {}, k, context);

    call.request.q = q;
    detail::attend_with_own_keys(call, k, x.v);
}

ATTENTA_END
