#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/memory/intra_temporal.hpp>
#include <attenta/variants/memory/intra_temporal_kernels.hpp>
#include <attenta/variants/whole_rows.hpp>

#include <algorithm>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct IntraTemporalMemory {
    WholeRowsMemory rows;
    std::vector<float> q, past;
};

inline void check_temporal_state(const char* f, const IntraTemporalInputs& x, const IntraTemporalOutputs& out,
                                 std::int64_t keys) {
    const std::int64_t heads = x.q.heads;
    if (x.state && x.state.cols != keys)
        fail(f,
             "state has " + checks::text(x.state.cols) + " columns, needs the " + checks::text(keys) + " tokens of k");
    const Heads<float> state{out.state.data, 1, out.state.rows, out.state.cols, 0, out.state.row_stride};
    if (state.data) checks::check_output(f, 1, heads, keys, state, "state");
    // A state may be carried on where it is.
    IntraTemporalInputs inputs = x;
    const bool in_place = state.data == x.state.data && out.state.row_stride == x.state.row_stride;
    if (in_place) inputs.state = {};
    OutputMemory memory(f, InputList(inputs), x.q, x.kv, out.o, nullptr);
    memory.add("state", state);
}

/// Keys of a column of tasks, each of which goes through all steps of a range.
inline constexpr std::int64_t columns_per_task = 256;

inline void take_off_pasts(const ScoreRange& s, std::int64_t keys, float* past, Context& context) {
    const TakeOffPast take_off = take_off_past();
    const std::int64_t columns = ceil_div(keys, columns_per_task);
    run_tasks(context.executor(), s.heads * columns, [&](std::int64_t task, int) {
        const std::int64_t h = task / columns, begin = task % columns * columns_per_task;
        take_off(s.row(h, 0) + begin, s.stride, s.queries, std::min(columns_per_task, keys - begin),
                 past + h * keys + begin);
    });
}

}  // namespace detail

ATTENTA_INLINE void intra_temporal(const IntraTemporalInputs& x, const IntraTemporalOutputs& out,
                                   const IntraTemporalOptions& options, Context& context) {
    const char* const f = "intra_temporal";
    detail::SoftmaxCall call = detail::check_bilinear(f, x, out, options.scale, {}, context);
    const std::int64_t keys = call.keys(), heads = x.q.heads;
    if (x.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
    detail::check_temporal_state(f, x, out, keys);

    detail::CallMemory<detail::IntraTemporalMemory> own(x.q.tokens, context);
    detail::fold_bilinear(x.q, x.w_a, call, own->q);
    own->past.assign(static_cast<std::size_t>(heads * keys), -std::numeric_limits<float>::infinity());
    for (std::int64_t h = 0; x.state && h < heads; ++h)
        std::copy_n(x.state.row(0, h), keys, own->past.data() + h * keys);
    detail::attend_by_rows(call, own->rows, [&](const detail::ScoreRange& s) {
        detail::take_off_pasts(s, keys, own->past.data(), context);
    });
    for (std::int64_t h = 0; out.state.data && h < heads; ++h)
        std::copy_n(own->past.data() + h * keys, keys, out.state.data + h * out.state.row_stride);
}

ATTENTA_END
