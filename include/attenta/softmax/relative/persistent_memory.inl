#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/score/distance_table.hpp>
#include <attenta/softmax/relative/persistent_memory.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct PersistentMemory {
    RelativeTerms terms;
    DistanceTable hides_self;
    std::vector<float> lse, table, bias, o;
    std::vector<RowStatistics> statistics;
};

inline void check_persistent_memory(const PersistentMemoryInputs& x) {
    const char* const f = "persistent_memory";
    if (x.k_mem.tokens < 1) fail(f, "k_mem has 0 keys, needs at least 1");
    if (!x.rel_k.data) return;
    check_parameter_heads(f, "rel_k", x.rel_k.heads, x.q.heads);
    if (x.rel_k.tokens < 1) fail(f, "rel_k has 0 distances, needs at least 1");
}

/// The rows of rel_k in the order of keys, d = j − i from −L to 1, and what hides: the ends, and d = 0 where asked.
inline Heads<const float> memory_table(const PersistentMemoryInputs& x, bool include_self, PersistentMemory& m) {
    const std::int64_t heads = x.rel_k.heads, rows = x.rel_k.tokens, dim = x.q.dim, count = rows + 2;
    m.table.assign(static_cast<std::size_t>(heads * count * dim), 0.f);
    m.bias.assign(static_cast<std::size_t>(heads * count), 0.f);
    constexpr float hidden = -std::numeric_limits<float>::infinity();
    for (std::int64_t h = 0; h < heads; ++h) {
        float* const bias = m.bias.data() + h * count;
        bias[0] = bias[count - 1] = hidden;
        if (!include_self) bias[count - 2] = hidden;
        for (std::int64_t n = 0; n < rows; ++n)
            std::copy_n(x.rel_k.row(h, n), dim, m.table.data() + (h * count + rows - n) * dim);
    }
    return hnd(static_cast<const float*>(m.table.data()), heads, count, dim);
}

/// The context's part and the memory's, as one.
inline void run_both(const SoftmaxCall& part, const PersistentMemoryInputs& x, PersistentMemory& m) {
    const attention::Request& r = part.request;
    const std::int64_t heads = r.q.heads, queries = r.q.tokens, rows = heads * queries, dim_v = r.kv.v.dim;
    m.o.resize(static_cast<std::size_t>(2 * rows * dim_v));
    m.statistics.assign(static_cast<std::size_t>(2 * rows), {});
    const auto o = [&](std::int64_t p) { return hnd(m.o.data() + p * rows * dim_v, heads, queries, dim_v); };
    attention::plan(r, *part.context).run(r.q, r.kv, o(0), nullptr, {.found = m.statistics.data()});
    attention::Request memory;
    memory.function = r.function;
    memory.q = r.q;
    memory.kv = KvView::of(x.k_mem, x.v_mem);
    memory.scale = r.scale;
    attention::plan(memory, *part.context)
        .run(memory.q, memory.kv, o(1), nullptr, {.found = m.statistics.data() + rows});
    const MergeFunction merge = merge_row();
    run_tasks(part.context->executor(), heads, [&](std::int64_t h, int) {
        for (std::int64_t t = 0; t < queries; ++t) {
            const std::int64_t row = h * queries + t;
            const RowStatistics* const first = m.statistics.data() + row;
            const RowStatistics all = merge(m.o.data() + row * dim_v, rows * dim_v, &first->max, &first->sum, 2 * rows,
                                            2, dim_v, part.out.o.row(h, t));
            if (part.out.lse) part.out.lse[row] = all.lse();
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void persistent_memory(const PersistentMemoryInputs& x, const SoftmaxOutputs& out,
                                      const PersistentMemoryOptions& options, Context& context) {
    detail::SoftmaxCall call = detail::check_softmax(
        "persistent_memory", x, out, detail::scale_or_default(options.scale, x.q.dim), options.visibility, context);
    detail::check_persistent_memory(x);
    const detail::CallMemory<detail::PersistentMemory> memory(x.q.tokens, context);
    if (!x.rel_k.data) {
        if (!options.include_self) {
            memory->hides_self.set(x.q.heads, -1, 1, [](std::int64_t, std::int64_t d) {
                return d == 0 ? -std::numeric_limits<float>::infinity() : 0.f;
            });
            call.request.edits.push_back(edit(memory->hides_self.edit()));
        }
        return detail::run_both(call, x, *memory);
    }
    const Heads<const float> table = detail::memory_table(x, options.include_self, *memory);
    const std::int64_t range = detail::RelativeTerms::queries_at_once(x.q.heads, table.tokens, x.q.tokens);
    detail::for_query_ranges(call, range, memory->lse, [&](detail::SoftmaxCall& part, std::int64_t) {
        attention::Request& r = part.request;
        memory->terms.set(r.q, table, -x.rel_k.tokens, r.scale, memory->bias.data(), context);
        r.edits.push_back(edit(memory->terms.edit()));
        detail::run_both(part, x, *memory);
    });
}

ATTENTA_END
