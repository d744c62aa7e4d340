#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/variants/normalisers/relu.hpp>
#include <attenta/variants/row_kernels.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_relu(const char* f, const ReluOptions& o) {
    if (o.power != 1 && o.power != 2) fail(f, "power is " + checks::text(o.power) + ", needs 1 or 2");
    if (static_cast<int>(o.divide) > static_cast<int>(ReluDivide::none)) fail(f, "divide is none of ReluDivide");
    if (!is_finite(o.eps) || o.eps < 0)
        fail(f, "eps is " + std::to_string(o.eps) + ", needs a finite number from 0 up");
}

struct ReluMemory {
    std::vector<RowStatistics> rows;
};

/// Rows of o take the factor 1 / (sum + eps), those without a sum stay.
inline void divide_rows(const Heads<float>& o, const std::vector<RowStatistics>& rows, float eps, Context& context) {
    constexpr std::int64_t together = 64;  // rows of a task
    const std::int64_t all = o.heads * o.tokens;
    run_tasks(context.executor(), ceil_div(all, together), [&](std::int64_t task, int) {
        for (std::int64_t r = task * together; r < std::min(all, (task + 1) * together); ++r) {
            const float sum = rows[static_cast<std::size_t>(r)].sum + eps;
            if (sum != 0.f) divide_row()(o.row(r / o.tokens, r % o.tokens), o.dim, sum);
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void relu(const ReluInputs& x, const WeightedOutputs& out, const ReluOptions& options,
                         Context& context) {
    const char* const f = "relu";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    detail::check_relu(f, options);
    detail::SoftmaxCall call = detail::check_weighted(f, x, out, scale, options.visibility, context);
    call.request.edits.push_back(edit(edits::ReluWeights{options.power == 2}));
    if (options.divide == ReluDivide::none) return call.run();
    const bool sum = options.divide == ReluDivide::sum;
    detail::CallMemory<detail::ReluMemory> memory(x.q.tokens, context);
    memory->rows.resize(static_cast<std::size_t>(x.q.heads * x.q.tokens));
    const attention::Request& r = call.request;
    attention::plan(r, context).run(r.q, r.kv, out.o, nullptr, {.found = sum ? memory->rows.data() : nullptr});
    if (!sum) detail::count_visible(call, detail::has_intervals(options.visibility), memory->rows);
    detail::divide_rows(out.o, memory->rows, sum ? options.eps : 0.f, context);
}

ATTENTA_END
