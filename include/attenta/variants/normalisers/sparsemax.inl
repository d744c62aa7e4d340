#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/normalisers/entmax_kernels.hpp>
#include <attenta/variants/normalisers/sparsemax.hpp>
#include <attenta/variants/whole_rows.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct SparsemaxMemory {
    WholeRowsMemory rows;
    std::vector<float> candidates;
};

}  // namespace detail

ATTENTA_INLINE void sparsemax(const SparsemaxInputs& x, const SparsemaxOutputs& out, const SparsemaxOptions& options,
                              Context& context) {
    const char* const f = "sparsemax";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    const detail::SoftmaxCall call = detail::check_weighted(f, x, out, scale, options.visibility, context);
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, stride = detail::score_stride(call.keys());
    detail::OutputMemory memory(f, InputList(x), x.q, x.kv, out.o, nullptr);
    memory.add("tau", hnd(out.tau, heads, queries, 1));

    detail::CallMemory<detail::SparsemaxMemory> own(queries, context);
    own->candidates.resize(static_cast<std::size_t>(context.executor().concurrency() * stride));
    const detail::EntmaxRow weigh = detail::entmax_row();
    detail::attend_by_rows(call, own->rows, [&](const detail::ScoreRange& s) {
        detail::for_score_rows(s, context, [&](const detail::ScoreRow& row) {
            const float tau = weigh(row.s, row.count, 2, own->candidates.data() + row.slot * stride);
            if (out.tau) out.tau[row.head * queries + row.query] = tau;
        });
    });
}

ATTENTA_END
