#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/common/own_keys.hpp>
#include <attenta/variants/network/pair_scores.hpp>
#include <attenta/variants/network/sentinel.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct SentinelMemory {
    std::vector<float> keys, gates, sentinels, hidden, own_scores, lse;
    std::vector<RowStatistics> rows;
    TanhPairScores scores;
};

inline void check_sentinel(const SentinelInputs& x, const SentinelOutputs& out, const InputList& inputs) {
    const char* const f = "sentinel";
    const bool parts[] = {x.x.data != nullptr, x.h_prev.data != nullptr, x.m.data != nullptr, x.w_x.data != nullptr,
                          x.w_h.data != nullptr};
    const auto given = std::count(std::begin(parts), std::end(parts), true);
    if (x.s.data ? given > 0 : given < 5)
        fail(f, "s is " + std::string(x.s.data ? "given" : "null") + " with " + std::to_string(given) +
                    " of the cell's parts, needs s alone or x, h_prev, m, w_x and w_h");
    check_table(f, "W_g q", x.q.heads, x.q.tokens, x.w_g.rows);
    check_table(f, "W_v k", x.kv.heads, x.kv.length(0), x.w_v.rows);
    OutputMemory outputs(f, inputs, x.q, x.kv, out.o, out.lse);
    outputs.add("beta", hnd(out.beta, x.q.heads, x.q.tokens, 1));
}

/// s as it is given, or of the cell.
inline Heads<const float> sentinels(const SentinelInputs& x, SentinelMemory& m, Context& context) {
    if (x.s.data) return x.s;
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, dim = x.m.dim;
    m.gates.resize(static_cast<std::size_t>(heads * queries * dim));
    m.sentinels.resize(m.gates.size());
    const Matrices<float> gates{m.gates.data(), heads, queries, dim};
    dense::multiply(dense::matrices_of(x.x), x.w_x, gates, {.b_transposed = true}, context);
    dense::multiply(dense::matrices_of(x.h_prev), x.w_h, gates, {.b_transposed = true, .add = true}, context);
    run_tasks(context.executor(), heads * queries, [&](std::int64_t i, int) {
        network::gated_tanh_row()(m.gates.data() + i * dim, x.m.row(i / queries, i % queries),
                                  m.sentinels.data() + i * dim, dim);
    });
    return hnd(static_cast<const float*>(m.sentinels.data()), heads, queries, dim);
}

/// ζ of all queries.
inline void score_sentinels(const SentinelInputs& x, const Heads<const float>& s, SentinelMemory& m, Context& context) {
    const Heads<const float> halves = m.scores.queries();
    const std::int64_t rows = halves.heads * halves.tokens, width = halves.dim;
    m.hidden.assign(halves.data, halves.data + rows * width);
    m.own_scores.resize(static_cast<std::size_t>(rows));
    dense::multiply(dense::matrices_of(s), x.w_s, {m.hidden.data(), halves.heads, halves.tokens, width},
                    {.b_transposed = true, .add = true}, context);
    run_tasks(context.executor(), halves.heads, [&](std::int64_t h, int) {
        const std::int64_t first = h * halves.tokens;
        network::sum_tanh_rows()({m.hidden.data() + first * width, width, halves.tokens, width, x.w_a.data()},
                                 m.own_scores.data() + first);
    });
}

}  // namespace detail

ATTENTA_INLINE void sentinel(const SentinelInputs& x, const SentinelOutputs& out, const SentinelOptions& options,
                             Context& context) {
    const InputList inputs(x);
    detail::SoftmaxCall call = detail::check_pairs({"sentinel", inputs, x.q, x.kv, out}, options.visibility, context);
    detail::check_sentinel(x, out, inputs);
    const detail::CallMemory<detail::SentinelMemory> memory(x.q.tokens, context);
    memory->lse.resize(static_cast<std::size_t>(x.q.heads * x.q.tokens));
    memory->scores.make({x.w_g, x.w_v, x.w_a}, x.q, detail::keys_as_floats(x.kv, memory->keys), context);
    const Heads<const float> s = detail::sentinels(x, *memory, context);
    detail::score_sentinels(x, s, *memory, context);
    float* const lse = out.lse ? out.lse : memory->lse.data();
    memory->rows.assign(static_cast<std::size_t>(x.q.heads * x.q.tokens), {});
    detail::leave_products_out(call.request);
    call.request.edits.push_back(edit(memory->scores.edit()));
    attention::plan(call.request, context)
        .run(call.request.q, call.request.kv, out.o, nullptr, {.found = memory->rows.data()});

    // A key of one channel whose product is the score.
    constexpr float one = 1;
    const float* const own = memory->own_scores.data();
    join_own_keys(hnd(own, x.q.heads, x.q.tokens, 1), {&one, 1, x.q.tokens, 1, 0, 0}, s, {}, 1.f, memory->rows.data(),
                  out.o, lse, context);
    for (std::int64_t i = 0; out.beta && i < x.q.heads * x.q.tokens; ++i) out.beta[i] = std::exp(own[i] - lse[i]);
}

ATTENTA_END
