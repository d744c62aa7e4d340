#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/score/observers.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/relative_shaw.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct ShawMemory {
    RelativeTerms terms;
    std::vector<RowStatistics> statistics;
    std::vector<float> lse, sums;
};

/// o += Σ_j p_ij rel_v[r(i, j)] for the queries of a part, whose scores are known to the statistics.
inline void add_relative_values(const SoftmaxCall& part, const Heads<const float>& rel_v, ShawMemory& m) {
    const std::int64_t heads = part.request.q.heads, queries = part.request.q.tokens, count = rel_v.tokens;
    m.sums.assign(static_cast<std::size_t>(heads * queries * count), 0.f);
    attention::Request r = part.request;
    r.values = false;
    r.weight_edits = {edit(edits::DistanceSums{m.sums.data(), queries, -(count / 2), count})};
    attention::plan(r, *part.context).run(r.q, r.kv, {}, nullptr, {.known = m.statistics.data()});
    dense::multiply({m.sums.data(), heads, queries, count}, dense::matrices_of(rel_v), dense::matrices_of(part.out.o),
                    {.add = true}, *part.context);
}

}  // namespace detail

ATTENTA_INLINE void relative_shaw(const RelativeShawInputs& x, const SoftmaxOutputs& out,
                                  const RelativeShawOptions& options, Context& context) {
    const char* const f = "relative_shaw";
    const detail::SoftmaxCall call =
        detail::check_softmax(f, x, out, detail::scale_or_default(options.scale, x.q.dim), options.visibility, context);
    detail::check_parameter_heads(f, "rel_k", x.rel_k.heads, x.q.heads);
    if (x.rel_v.data) detail::check_parameter_heads(f, "rel_v", x.rel_v.heads, x.q.heads);
    const std::int64_t count = x.rel_k.tokens;
    if (count % 2 == 0) fail(f, "rel_k has " + checks::text(count) + " rows, needs an odd number");
    const detail::CallMemory<detail::ShawMemory> memory(x.q.tokens, context);
    detail::for_query_ranges(
        call, detail::RelativeTerms::queries_at_once(x.q.heads, count, x.q.tokens), memory->lse,
        [&](detail::SoftmaxCall& part, std::int64_t) {
            attention::Request& r = part.request;
            memory->terms.set(r.q, x.rel_k, -(count / 2), r.scale, nullptr, context);
            r.edits.push_back(edit(memory->terms.edit()));
            if (!x.rel_v.data) return part.run();
            memory->statistics.assign(static_cast<std::size_t>(r.q.heads * r.q.tokens), {});
            r.two_passes = true;
            attention::plan(r, context).run(r.q, r.kv, part.out.o, part.out.lse, {.found = memory->statistics.data()});
            detail::add_relative_values(part, x.rel_v, *memory);
        });
}

ATTENTA_END
