#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/own_keys.hpp>
#include <attenta/softmax/scores/sink_bias.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct SinkBiasMemory {
    std::vector<RowStatistics> rows;
};

}  // namespace detail

ATTENTA_INLINE void sink_bias(const SinkBiasInputs& x, const SoftmaxOutputs& out, const SinkBiasOptions& options,
                              Context& context) {
    const detail::SoftmaxCall call = detail::check_softmax(
        "sink_bias", x, out, detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1)),
        options.visibility, context);
    const attention::Request& r = call.request;
    const std::int64_t queries = x.q.tokens;
    detail::CallMemory<detail::SinkBiasMemory> memory(queries, context);
    memory->rows.assign(static_cast<std::size_t>(x.q.heads * queries), {});
    attention::plan(r, context).run(x.q, x.kv, out.o, nullptr, {.found = memory->rows.data()});

    const auto same_for_all = [&](const Matrices<const float>& rows) {
        return Heads<const float>{rows.data, rows.rows, queries, rows.cols, rows.row_stride, 0};
    };
    join_own_keys(x.q, same_for_all(x.k_bias), same_for_all(x.v_bias), {}, r.scale, memory->rows.data(), out.o, out.lse,
                  context);
}

ATTENTA_END
