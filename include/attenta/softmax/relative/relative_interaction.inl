#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/score/distance_table.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/relative_interaction.hpp>
#include <attenta/softmax/relative/relative_interaction_kernels.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct InteractionMemory {
    DistanceTable table;
    std::vector<float> lse, keys, of_queries, of_keys;
    std::vector<std::int32_t> columns;
    edits::DistanceTerms terms;
    TripleFactors factors;
};

inline void check_interaction(const RelativeInteractionInputs& x, const RelativeInteractionOptions& o) {
    const char* const f = "relative_interaction";
    if (o.method < 1 || o.method > 4) fail(f, "method is " + checks::text(o.method) + ", needs 1 to 4");
    check_parameter_heads(f, "rel", x.rel.heads, x.q.heads);
    const std::int64_t width = o.method <= 2 ? 1 : x.q.dim;
    if (x.rel.dim != width)
        fail(f, "rel has rows of " + checks::text(x.rel.dim) + " numbers, method " + checks::text(o.method) +
                    " needs " + checks::text(width));
    if (x.rel.tokens < 1 || (o.method > 1 && x.rel.tokens % 2 == 0))
        fail(f, "rel has " + checks::text(x.rel.tokens) + " distances, needs " +
                    (o.method > 1 ? "an odd number" : "at least one"));
    if (o.method > 2 && x.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
}

/// A factor for each distance.
inline void scale_by_distance(SoftmaxCall& call, const RelativeInteractionInputs& x, std::int64_t method,
                              InteractionMemory& m) {
    const std::int64_t most = method == 1 ? x.rel.tokens - 1 : x.rel.tokens / 2, of_rel = x.q.heads / x.rel.heads;
    m.table.set(x.q.heads, -most, most, [&](std::int64_t head, std::int64_t d) {
        return *x.rel.row(head / of_rel, method == 1 ? std::abs(d) : d + most);
    });
    edits::DistanceGain gain;
    static_cast<edits::DistanceBias&>(gain) = m.table.edit();
    call.request.edits.push_back(edit(gain));
    call.run();
}

/// Terms of queries and of keys with the same rows.
inline void add_both_terms(const SoftmaxCall& call, const RelativeInteractionInputs& x, InteractionMemory& m,
                           Context& context) {
    const Heads<const float> keys = keys_as_floats(x.kv, m.keys);
    const std::int64_t rows = x.rel.tokens, heads = keys.heads % x.rel.heads == 0 ? keys.heads : x.q.heads;
    m.columns.resize(static_cast<std::size_t>(rows));
    std::iota(m.columns.begin(), m.columns.end(), 0);
    m.of_keys.resize(static_cast<std::size_t>(heads * keys.tokens * rows));
    const dense::ProductOptions scaled{.b_transposed = true, .alpha = call.request.scale};
    dense::multiply(dense::matrices_of(keys), dense::matrices_of(x.rel), {m.of_keys.data(), heads, keys.tokens, rows},
                    scaled, context);
    m.terms = {nullptr, m.of_keys.data(), m.columns.data(),  m.columns.data(), rows,
               0,       keys.tokens,      x.q.heads / heads, -(rows / 2),      rows};
    const std::int64_t range = RelativeTerms::queries_at_once(x.q.heads, rows, x.q.tokens);
    for_query_ranges(call, range, m.lse, [&](SoftmaxCall& part, std::int64_t) {
        const Heads<const float>& q = part.request.q;
        m.of_queries.resize(static_cast<std::size_t>(q.heads * q.tokens * rows));
        dense::multiply(dense::matrices_of(q), dense::matrices_of(x.rel),
                        {m.of_queries.data(), q.heads, q.tokens, rows}, scaled, context);
        m.terms.query = m.of_queries.data();
        m.terms.queries = q.tokens;
        part.request.edits.push_back(edit(edits::PairTerms{&m.terms}));
        part.run();
    });
}

}  // namespace detail

ATTENTA_INLINE void relative_interaction(const RelativeInteractionInputs& x, const SoftmaxOutputs& out,
                                         const RelativeInteractionOptions& options, Context& context) {
    detail::SoftmaxCall call = detail::check_softmax(
        "relative_interaction", x, out, detail::scale_or_default(options.scale, x.q.dim), options.visibility, context);
    detail::check_interaction(x, options);
    const detail::CallMemory<detail::InteractionMemory> memory(x.q.tokens, context);
    if (options.method <= 2) return detail::scale_by_distance(call, x, options.method, *memory);
    if (options.method == 4) return detail::add_both_terms(call, x, *memory, context);
    memory->factors = {x.q, detail::keys_as_floats(x.kv, memory->keys), x.rel, -(x.rel.tokens / 2), call.request.scale};
    call.request.scale = 0;
    call.request.edits.push_back(edit(edits::TripleProducts{&memory->factors}));
    call.run();
}

ATTENTA_END
