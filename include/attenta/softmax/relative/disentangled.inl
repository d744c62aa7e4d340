#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/softmax/relative/disentangled.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct DisentangledMemory {
    std::vector<float> lse, keys, of_queries, of_keys;
    std::vector<std::int32_t> columns, reversed;
    edits::DistanceTerms terms;
};

/// The chosen terms and the tables' rows.
struct DisentangledTerms {
    bool c2c = false, c2p = false, p2c = false;
    std::int64_t rows = 0;

    int count() const { return int{c2c} + int{c2p} + int{p2c}; }
};

inline DisentangledTerms disentangled_terms(const DisentangledInputs& x, const DisentangledOptions& o) {
    const char* const f = "disentangled";
    DisentangledTerms t;
    for (const std::string& name : o.terms) {
        bool* const term = name == "c2c" ? &t.c2c : name == "c2p" ? &t.c2p : name == "p2c" ? &t.p2c : nullptr;
        if (!term) fail(f, "terms has \"" + name + "\", needs c2c, c2p or p2c");
        if (*term) fail(f, "terms has \"" + name + "\" twice, needs it once");
        *term = true;
    }
    if (o.terms.empty()) fail(f, "terms is empty, needs c2c, c2p or p2c");
    if (t.c2p && !x.pos_k.data) fail(f, "pos_k is null, c2p needs it");
    if (t.p2c && !x.pos_q.data) fail(f, "pos_q is null, p2c needs it");
    t.rows = x.pos_k.data ? x.pos_k.tokens : x.pos_q.data ? x.pos_q.tokens : 0;
    if (x.pos_k.data) check_parameter_heads(f, "pos_k", x.pos_k.heads, x.q.heads);
    if (x.pos_q.data) check_parameter_heads(f, "pos_q", x.pos_q.heads, x.q.heads);
    const bool has_tables = x.pos_k.data || x.pos_q.data;
    if (has_tables && (t.rows < 2 || t.rows % 2 != 0))
        fail(f, "pos_k and pos_q have " + checks::text(t.rows) + " rows, needs an even number from 2 up");
    if (o.buckets == 0) return t;
    if (o.buckets < 4 || (has_tables && o.buckets != t.rows / 2))
        fail(f, "buckets is " + checks::text(o.buckets) + ", needs 0, or at least 4 and half the " +
                    checks::text(t.rows) + " rows of the tables");
    if (o.max_position - 1 <= o.buckets / 2)
        fail(f, "max_position is " + checks::text(o.max_position) + ", needs more than " +
                    checks::text(o.buckets / 2 + 1));
    return t;
}

/// δ(d)
inline std::int64_t disentangled_row(std::int64_t d, std::int64_t span, const DisentangledOptions& o) {
    if (o.buckets > 0) {
        const std::int64_t mid = o.buckets / 2, most = o.max_position - 1;
        d = std::clamp(d, -most, most);
        const std::int64_t size = std::abs(d);
        if (size > mid) {
            const double far = std::log(static_cast<double>(size) / static_cast<double>(mid)) /
                               std::log(static_cast<double>(most) / static_cast<double>(mid));
            const auto b = mid + static_cast<std::int64_t>(std::ceil(far * static_cast<double>(mid - 1) - 1e-9));
            d = d < 0 ? -b : b;
        }
    }
    return std::clamp<std::int64_t>(d + span, 0, 2 * span - 1);
}

/// Terms of all keys with pos_q: a set for each K/V head where the tables allow it.
inline void set_key_terms(const DisentangledInputs& x, float scale, DisentangledMemory& m, Context& context) {
    const Heads<const float> keys = keys_as_floats(x.kv, m.keys);
    const std::int64_t heads = keys.heads % x.pos_q.heads == 0 ? keys.heads : x.q.heads, rows = x.pos_q.tokens;
    m.of_keys.resize(static_cast<std::size_t>(heads * keys.tokens * rows));
    dense::multiply(dense::matrices_of(keys), dense::matrices_of(x.pos_q), {m.of_keys.data(), heads, keys.tokens, rows},
                    {.b_transposed = true, .alpha = scale}, context);
    m.terms.key = m.of_keys.data();
    m.terms.keys = keys.tokens;
    m.terms.group = x.q.heads / heads;
}

}  // namespace detail

ATTENTA_INLINE void disentangled(const DisentangledInputs& x, const DisentangledOutputs& out,
                                 const DisentangledOptions& options, Context& context) {
    const char* const f = "disentangled";
    const std::int64_t count = std::max<std::int64_t>(static_cast<std::int64_t>(options.terms.size()), 1);
    detail::SoftmaxCall call = detail::check_softmax(
        f, x, out, detail::scale_or_default(options.scale, x.q.dim * count), options.visibility, context);
    const detail::DisentangledTerms chosen = detail::disentangled_terms(x, options);
    const std::int64_t queries = x.q.tokens, keys = call.keys(), span = std::max<std::int64_t>(chosen.rows / 2, 1);
    if (x.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
    if (out.index)
        detail::OutputMemory(f, InputList(x), x.q, x.kv, out.o, out.lse).add("index", hnd(out.index, 1, queries, keys));

    // Distances beyond the limit share a row.
    const detail::CallMemory<detail::DisentangledMemory> memory(queries, context);
    const std::int64_t limit = options.buckets > 0 ? options.max_position : span, first_query = call.first_position(),
                       first = std::clamp(-(first_query + queries - 1), -limit, limit),
                       last = std::clamp(call.end_of_positions() - 1 - first_query, first, limit);
    memory->columns.resize(static_cast<std::size_t>(last - first + 1));
    memory->reversed.resize(memory->columns.size());
    for (std::int64_t d = first; d <= last; ++d) {
        memory->columns.data()[d - first] = static_cast<std::int32_t>(detail::disentangled_row(-d, span, options));
        memory->reversed.data()[d - first] = static_cast<std::int32_t>(detail::disentangled_row(d, span, options));
    }
    edits::DistanceTerms& terms = memory->terms = {};
    terms.columns = chosen.rows;
    terms.query_column = memory->columns.data();
    terms.key_column = options.p2c_index == P2cIndex::released ? memory->columns.data() : memory->reversed.data();
    terms.first = first;
    terms.count = last - first + 1;
    const float scale = call.request.scale;
    if (chosen.p2c) detail::set_key_terms(x, scale, *memory, context);
    if (!chosen.c2c) call.request.scale = 0;
    const std::int64_t range =
        chosen.c2p ? detail::RelativeTerms::queries_at_once(x.q.heads, chosen.rows, queries) : queries;
    detail::for_query_ranges(call, range, memory->lse, [&](detail::SoftmaxCall& part, std::int64_t) {
        const Heads<const float>& q = part.request.q;
        if (chosen.c2p) {
            memory->of_queries.resize(static_cast<std::size_t>(q.heads * q.tokens * chosen.rows));
            dense::multiply(dense::matrices_of(q), dense::matrices_of(x.pos_k),
                            {memory->of_queries.data(), q.heads, q.tokens, chosen.rows},
                            {.b_transposed = true, .alpha = scale}, context);
            terms.query = memory->of_queries.data();
            terms.queries = q.tokens;
        }
        if (chosen.c2p || chosen.p2c) part.request.edits.push_back(edit(edits::PairTerms{&terms}));
        part.run();
    });
    const std::int32_t* const positions = x.kv.positions_of(0);
    for (std::int64_t i = 0; out.index && i < queries; ++i)
        for (std::int64_t j = 0; j < keys; ++j) {
            const std::int64_t d = (positions ? positions[j] : j) - first_query - i;
            out.index[i * keys + j] = memory->columns.data()[std::clamp(d, first, last) - first];
        }
}

ATTENTA_END
