#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/score/observers.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/scores/relational.hpp>
#include <attenta/softmax/scores/relational_kernels.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct RelationalMemory {
    std::vector<float> lse, values, retrieved, keys, repeated, relations, averages, distances;
    std::vector<RowStatistics> statistics;
};

inline void check_relational(const RelationalInputs& x, const RelationalOptions& o) {
    const char* const f = "relational";
    const auto need = [&](const char* name, const Heads<const float>& t) {
        if (!t.data) fail(f, std::string(name) + " is null, symbols need it");
    };
    for (const auto& [name, scale] : {std::pair{"rel_scale", o.rel_scale}, {"symbol_scale", o.symbol_scale}})
        if (scale && !is_finite(*scale))
            fail(f, std::string(name) + " is " + std::to_string(*scale) + ", needs a finite number");
    using checks::text;
    for (const auto& [name, n] :
         {std::pair{"q_rel has no heads", x.q_rel.heads}, {"w_rel has no rows", x.w_rel.tokens}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    const Heads<const float>& symbols = o.symbols == Symbols::given ? x.symbols : x.w_symbol;
    need(o.symbols == Symbols::given ? "symbols" : "w_symbol", symbols);
    check_parameter_heads(f, o.symbols == Symbols::given ? "symbols" : "w_symbol", symbols.heads, x.q_attn.heads);
    if (symbols.heads % x.k_attn.heads != 0 && x.k_attn.heads % symbols.heads != 0)
        fail(f, "symbols have " + text(symbols.heads) + " heads, needs a divisor or a multiple of the " +
                    text(x.k_attn.heads) + " of k_attn");
    if (o.symbols == Symbols::given) return;
    need("symbol_library", x.symbol_library);
    const Heads<const float>& library = x.symbol_library;
    const bool retrieved = o.symbols == Symbols::symbolic;
    const std::int64_t rows = library.heads, width = retrieved ? library.heads * library.dim : library.dim;
    if (width != x.w_symbol.tokens)
        fail(f, "symbol_library has symbols of " + text(width) + " numbers, w_symbol takes " + text(x.w_symbol.tokens));
    if (!retrieved && library.tokens != 1)
        fail(f, "symbol_library is " + checks::shape(library.heads, library.tokens, library.dim) +
                    ", needs a matrix of symbols");
    if (o.symbols == Symbols::position && rows < x.k_attn.tokens)
        fail(f, "symbol_library has " + text(rows) + " rows, needs the " + text(x.k_attn.tokens) + " positions");
    if (o.symbols == Symbols::relative && rows % 2 == 0)
        fail(f, "symbol_library has " + text(rows) + " rows, needs an odd number");
    if (!retrieved) return;
    need("symbol_q", x.symbol_q);
    need("templates", x.templates);
}

/// The same heads as `heads`, each several times.
inline Heads<const float> repeat_heads(const Heads<const float>& x, std::int64_t heads, std::vector<float>& memory) {
    if (x.heads == heads) return x;
    if (x.heads == 1) return {x.data, heads, x.tokens, x.dim, 0, x.token_stride};
    memory.resize(static_cast<std::size_t>(heads * x.tokens * x.dim));
    float* to = memory.data();
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) to = std::copy_n(x.row(h / (heads / x.heads), t), x.dim, to);
    return hnd(static_cast<const float*>(memory.data()), heads, x.tokens, x.dim);
}

/// Rows of a library, or those retrieved for each key, times w_symbol.
inline Heads<const float> make_symbols(const RelationalInputs& x, const RelationalOptions& o, RelationalMemory& m,
                                       Context& context) {
    const Heads<const float>& library = x.symbol_library;
    Matrices<const float> rows{library.data, 1, library.heads, library.dim, library.head_stride, 0};
    if (o.symbols == Symbols::position) rows.rows = x.k_attn.tokens;
    if (o.symbols == Symbols::symbolic) {
        const std::int64_t keys = x.k_attn.tokens, width = library.heads * library.dim;
        m.retrieved.resize(static_cast<std::size_t>(keys * width));
        softmax_attention(x.symbol_q, KvView::of(x.templates, library),
                          nhd(m.retrieved.data(), keys, library.heads, library.dim), {.scale = o.symbol_scale}, nullptr,
                          context);
        rows = {m.retrieved.data(), 1, keys, width, width, 0};
    }
    m.values.resize(static_cast<std::size_t>(x.w_symbol.heads * rows.rows * x.w_symbol.dim));
    const Heads<float> symbols = hnd(m.values.data(), x.w_symbol.heads, rows.rows, x.w_symbol.dim);
    dense::multiply(rows, dense::matrices_of(x.w_symbol), dense::matrices_of(symbols), {}, context);
    return symbols;
}

/// r_ij,l of the queries from `begin` on with all keys.
inline void set_relations(const RelationalInputs& x, const RelationalOptions& o, std::int64_t begin, std::int64_t count,
                          RelationalMemory& m, Context& context) {
    const std::int64_t relations = x.q_rel.heads, keys = x.k_rel.tokens, rows = relations * count;
    m.relations.resize(static_cast<std::size_t>(rows * keys));
    dense::multiply(dense::matrices_of(x.q_rel.slice(begin, count)), dense::matrices_of(x.k_rel),
                    {m.relations.data(), relations, count, keys},
                    {.b_transposed = true, .alpha = scale_or_default(o.rel_scale, x.q_rel.dim)}, context);
    if (o.rel_activation == RelationActivation::identity) return;
    const ActivateRow activate = activate_relations();
    run_tasks(context.executor(), rows, [&](std::int64_t i, int) {
        activate(m.relations.data() + i * keys, keys, static_cast<int>(o.rel_activation));
    });
}

/// Weights of a part meet relations and distances; what they gather is added to o.
inline void add_gathered(const SoftmaxCall& part, const RelationalInputs& x, const RelationalOptions& o,
                         const Heads<const float>& symbols, RelationalMemory& m) {
    Context& context = *part.context;
    const std::int64_t heads = x.q_attn.heads, queries = part.request.q.tokens, count = x.q_rel.heads;
    const bool relative = o.symbols == Symbols::relative;
    m.averages.assign(static_cast<std::size_t>(heads * queries * count), 0.f);
    attention::Request r = part.request;
    r.values = false;
    r.weight_edits = {
        edit(edits::WeightedRelations{m.relations.data(), m.averages.data(), count, queries, x.k_rel.tokens})};
    if (relative) {
        m.distances.assign(static_cast<std::size_t>(heads * queries * symbols.tokens), 0.f);
        r.weight_edits.push_back(
            edit(edits::DistanceSums{m.distances.data(), queries, -(symbols.tokens / 2), symbols.tokens}));
    }
    attention::plan(r, context).run(r.q, r.kv, {}, nullptr, {.known = m.statistics.data()});
    const Matrices<float> o_rows = dense::matrices_of(part.out.o);
    dense::multiply({m.averages.data(), heads, queries, count}, dense::matrices_of(x.w_rel), o_rows,
                    {.b_transposed = true, .add = !relative}, context);
    if (relative)
        dense::multiply({m.distances.data(), heads, queries, symbols.tokens}, dense::matrices_of(symbols), o_rows,
                        {.add = true}, context);
}

}  // namespace detail

ATTENTA_INLINE void relational(const RelationalInputs& x, const SoftmaxOutputs& out, const RelationalOptions& options,
                               Context& context) {
    const char* const f = "relational";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    detail::check_relational(x, options);
    const Heads<const float>& k = x.k_attn;
    const Heads<const float> widths{k.data, k.heads, k.tokens, x.w_rel.tokens, 0, 0};  // values to come, for the checks
    detail::SoftmaxCall call =
        detail::check_softmax({f, inputs, x.q_attn, KvView::of(k, widths), out,
                               detail::scale_or_default(options.scale, x.q_attn.dim), options.visibility},
                              context);
    const bool relative = options.symbols == Symbols::relative;
    const detail::CallMemory<detail::RelationalMemory> memory(x.q_attn.tokens, context);
    const Heads<const float> symbols =
        options.symbols == Symbols::given ? x.symbols : detail::make_symbols(x, options, *memory, context);
    if (!relative) {
        const std::int64_t heads = std::max(k.heads, symbols.heads);
        call.request.kv = KvView::of(detail::repeat_heads(k, heads, memory->keys),
                                     detail::repeat_heads(symbols, heads, memory->repeated));
    }
    call.request.values = !relative;
    call.request.two_passes = true;
    constexpr std::int64_t relation_bytes = std::int64_t{8} << 20, least = 16;
    const std::int64_t queries = x.q_attn.tokens,
                       per_query = x.q_rel.heads * k.tokens * static_cast<std::int64_t>(sizeof(float)),
                       range = std::clamp(relation_bytes / per_query, std::min(least, queries), queries);
    detail::for_query_ranges(call, range, memory->lse, [&](detail::SoftmaxCall& part, std::int64_t begin) {
        const attention::Request& r = part.request;
        detail::set_relations(x, options, begin, r.q.tokens, *memory, context);
        memory->statistics.assign(static_cast<std::size_t>(r.q.heads * r.q.tokens), {});
        attention::plan(r, context)
            .run(r.q, r.kv, relative ? Heads<float>{} : part.out.o, part.out.lse, {.found = memory->statistics.data()});
        detail::add_gathered(part, x, options, symbols, *memory);
    });
}

ATTENTA_END
