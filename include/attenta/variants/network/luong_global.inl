#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/network/luong_global.hpp>

#include <cstdint>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_hidden(const LuongGlobalInputs& x, const LuongGlobalOutputs& out, OutputMemory& outputs) {
    const char* const f = "luong_global";
    if (!x.w_c) {
        if (out.h.data) fail(f, "h is given, w_c is null");
        return;
    }
    if (x.w_c.cols != x.kv.v.dim + x.q.dim)
        fail(f, "w_c has " + checks::text(x.w_c.cols) + " columns, needs " + checks::text(x.kv.v.dim + x.q.dim) +
                    ", those of v and q");
    if (!out.h.data) return;
    check_memory(f, "h", {out.h.data, out.h.heads, out.h.tokens, out.h.dim, out.h.head_stride, out.h.token_stride});
    checks::check_output(f, x.q.heads, x.q.tokens, x.w_c.rows, out.h, "h");
    outputs.add("h", out.h);
}

/// h = tanh(W_c [o; q])
inline void make_hidden(const LuongGlobalInputs& x, const LuongGlobalOutputs& out, Context& context) {
    const std::int64_t dim_v = out.o.dim;
    const Matrices<float> h = dense::matrices_of(out.h);
    dense::multiply(dense::matrices_of(Heads<const float>(out.o)), columns_of(x.w_c, 0, dim_v), h,
                    {.b_transposed = true}, context);
    dense::multiply(dense::matrices_of(x.q), columns_of(x.w_c, dim_v, x.q.dim), h, {.b_transposed = true, .add = true},
                    context);
    run_tasks(context.executor(), h.heads * h.rows,
              [&](std::int64_t i, int) { network::tanh_row()(out.h.row(i / h.rows, i % h.rows), h.cols); });
}

}  // namespace detail

ATTENTA_INLINE void luong_global(const LuongGlobalInputs& x, const LuongGlobalOutputs& out,
                                 const LuongGlobalOptions& options, Context& context) {
    const char* const f = "luong_global";
    const InputList inputs(x);
    detail::SoftmaxCall call =
        detail::check_pairs({f, inputs, x.q, x.kv, out, options.scale.value_or(1.f)}, options.visibility, context);
    const detail::LuongTensors scored{f, options.score, x.q, x.kv, x.w_a, x.v_a};
    detail::check_luong(scored);
    detail::OutputMemory outputs(f, inputs, x.q, x.kv, out.o, out.lse);
    detail::check_hidden(x, out, outputs);
    const detail::CallMemory<detail::LuongMemory> memory(x.q.tokens, context);
    detail::score_luong(scored, call.request, *memory, context);
    call.run();
    if (out.h.data) detail::make_hidden(x, out, context);
}

ATTENTA_END
