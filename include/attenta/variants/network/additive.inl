#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/network/additive.hpp>
#include <attenta/variants/network/pair_scores.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct AdditiveMemory {
    std::vector<float> keys, u, beta;
    TanhPairScores scores;
    std::vector<RowStatistics> rows;
    std::vector<network::Choice> choices;
};

/// Throws Error unless mode sample has its draws, each in [0, 1).
inline void check_draws(const char* f, const Heads<const float>& u) {
    if (!u.data) fail(f, "u is null, mode sample needs a draw for each row");
    for (std::int64_t h = 0; h < u.heads; ++h)
        for (std::int64_t t = 0; t < u.tokens; ++t)
            for (std::int64_t n = 0; n < u.dim; ++n)
                if (!(u.row(h, t)[n] >= 0.f && u.row(h, t)[n] < 1.f))
                    fail(f, "u is " + std::to_string(u.row(h, t)[n]) + " at " + checks::shape(h, t, n) +
                                ", needs a number in [0, 1)");
}

inline SoftmaxCall check_additive(const AdditiveInputs& x, const AdditiveOutputs& out, const AdditiveOptions& options,
                                  Context& context) {
    const char* const f = "additive";
    const InputList inputs(x);
    const SoftmaxCall call =
        check_pairs({f, inputs, x.q, x.kv, out, options.scale.value_or(1.f)}, options.visibility, context);
    if (options.mode == AlignmentMode::sample) check_draws(f, x.u);
    if (!x.b_beta.empty() && x.w_beta.empty()) fail(f, "b_beta is given without w_beta");
    check_table(f, "W_q q", x.q.heads, x.q.tokens, x.w_q.rows);
    check_table(f, "W_k k", x.kv.heads, x.kv.length(0), x.w_k.rows);
    OutputMemory outputs(f, inputs, x.q, x.kv, out.o, out.lse);
    outputs.add("index", hnd(out.index, x.q.heads, x.q.tokens, 1));
    outputs.add("beta", hnd(out.beta, x.q.heads, x.q.tokens, 1));
    return call;
}

/// Rows of values at the chosen keys.
inline void take_chosen(const SoftmaxCall& call, const AdditiveOutputs& out, const AdditiveMemory& m) {
    const KvView& kv = call.request.kv;
    const std::int64_t queries = call.request.q.tokens, group = call.request.q.heads / kv.heads;
    run_tasks(call.context->executor(), call.request.q.heads * queries, [&](std::int64_t row, int) {
        const std::int64_t h = row / queries, index = m.choices[static_cast<std::size_t>(row)].index;
        float* const o = out.o.row(h, row % queries);
        if (out.index) out.index[row] = index;
        if (index < 0) {
            const bool number = !std::isnan(m.rows[static_cast<std::size_t>(row)].sum);
            std::fill_n(o, kv.v.dim, number ? 0.f : std::numeric_limits<float>::quiet_NaN());
            return;
        }
        const std::byte *k, *v;
        kv.locate(0, index, 1, &k, &v);
        load_row(v + kv.v.head_bytes(h / group), kv.v.dim, kv.v.dtype, kv.v.codes, o);
    });
}

/// One pass for the denominators, one that looks at the weights.
inline void attend_one_key(SoftmaxCall& call, const AdditiveInputs& x, const AdditiveOutputs& out, bool draw,
                           AdditiveMemory& m) {
    attention::Request& r = call.request;
    const std::int64_t queries = r.q.tokens, count = r.q.heads * queries;
    m.rows.assign(static_cast<std::size_t>(count), {});
    m.choices.assign(static_cast<std::size_t>(count), {});
    if (draw) {
        m.u.resize(static_cast<std::size_t>(count));
        for (std::int64_t i = 0; i < count; ++i) m.u[static_cast<std::size_t>(i)] = *x.u.row(i / queries, i % queries);
    }
    r.values = false;
    r.two_passes = true;
    attention::plan(r, *call.context).run(r.q, r.kv, {}, out.lse, {.found = m.rows.data()});
    r.weight_edits = {edit(network::ChooseKey{m.choices.data(), queries, draw ? m.u.data() : nullptr})};
    attention::plan(r, *call.context).run(r.q, r.kv, {}, nullptr, {.known = m.rows.data()});
    take_chosen(call, out, m);
}

/// o ← σ(w_beta·q + b_beta) o
inline void gate_rows(const AdditiveInputs& x, const AdditiveOutputs& out, AdditiveMemory& m, Context& context) {
    const std::int64_t queries = x.q.tokens;
    m.beta.resize(static_cast<std::size_t>(x.q.heads * queries));
    const float shift = x.b_beta.empty() ? 0.f : x.b_beta[0];
    run_tasks(context.executor(), x.q.heads, [&](std::int64_t h, int) {
        float* const beta = m.beta.data() + h * queries;
        for (std::int64_t t = 0; t < queries; ++t)
            beta[t] = network::dot_rows()(x.q.row(h, t), x.w_beta.data(), x.q.dim) + shift;
        network::sigmoid_row()(beta, queries);
        for (std::int64_t t = 0; t < queries; ++t) network::scale_row_by()(out.o.row(h, t), out.o.dim, beta[t]);
        if (out.beta) std::copy_n(beta, queries, out.beta + h * queries);
    });
}

}  // namespace detail

ATTENTA_INLINE void additive(const AdditiveInputs& x, const AdditiveOutputs& out, const AdditiveOptions& options,
                             Context& context) {
    detail::SoftmaxCall call = detail::check_additive(x, out, options, context);
    const detail::CallMemory<detail::AdditiveMemory> memory(x.q.tokens, context);
    memory->scores.make({x.w_q, x.w_k, x.v_a, x.b, call.request.scale}, x.q, detail::keys_as_floats(x.kv, memory->keys),
                        context);
    detail::leave_products_out(call.request);
    call.request.edits.push_back(edit(memory->scores.edit()));
    if (options.mode == AlignmentMode::soft)
        call.run();
    else
        detail::attend_one_key(call, x, out, options.mode == AlignmentMode::sample, *memory);
    if (!x.w_beta.empty()) detail::gate_rows(x, out, *memory, context);
}

ATTENTA_END
