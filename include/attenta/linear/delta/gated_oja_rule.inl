#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/linear/delta/gated_oja_rule.hpp>
#include <attenta/linear/delta/gated_oja_rule_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// What a prefill needs beside the engine's scratch. It stays with the context.
struct OjaMemory {
    std::vector<float> rows;  ///< [Hs, T, D] normalised keys, then n
    LinearState transposed;   ///< [Hs, Dv, D]
};

/// Keys to rows of all state heads, by the request's map.
inline void map_oja_keys(const scan::Request& r, Heads<float> to, Context& context) {
    constexpr std::int64_t tokens = 64;  // of a task
    const std::int64_t parts = ceil_div(r.k.tokens, tokens);
    context.executor().parallel_for(to.heads * parts, [&](std::int64_t i, int) {
        const FlushToZero flush;
        const std::int64_t head = i / parts, key_head = head / (to.heads / r.k.heads), begin = i % parts * tokens;
        for (std::int64_t t = begin; t < std::min(begin + tokens, r.k.tokens); ++t)
            r.k_map.function({r.k_map.parameters, r.k.dim, r.k.dim, key_head, t, head}, r.k.row(key_head, t),
                             to.row(head, t));
    });
}

/// Two scans: of Sᵀ, whose corrected values are n, and of S with keys n.
inline void run_oja_scans(const scan::Request& r, Heads<float> o, LinearState& state, Context& context) {
    const std::int64_t heads = std::max(r.k.heads, r.v.heads),
                       numbers = saturating::multiply(saturating::multiply(heads, r.k.tokens), r.k.dim);
    if (numbers > checks::most_elements)
        fail(r.function, "k is " + checks::shape(r.k.heads, r.k.tokens, r.k.dim) + " for " + checks::text(heads) +
                             " state heads, memory does not hold as many elements");
    auto& memory = context.kept<OjaMemory>();
    memory.rows.resize(static_cast<std::size_t>(numbers));
    const Heads<float> rows = hnd(memory.rows.data(), heads, r.k.tokens, r.k.dim);
    scan::Request learn{.function = r.function, .q = r.v.slice(0, 0), .k = r.v, .v = r.k, .g = r.gv, .beta = r.beta};
    learn.update = scan::Update::delta;
    learn.state_heads = heads;
    learn.added = rows;
    if (r.k_map) learn.v = rows;
    scan::Request read = r;
    read.k = rows;
    read.k_map = {};
    read.beta = {};

    LinearState& transposed = memory.transposed;
    scan::reserve(learn, context);
    scan::reserve(read, context);
    if (transposed.heads != heads || transposed.dim != r.v.dim || transposed.dim_v != r.k.dim)
        transposed = LinearState(heads, r.v.dim, r.k.dim);
    scan::begin_state(read, state);
    context.executor().parallel_for(heads, [&, transpose = transpose_matrix()](std::int64_t head, int) {
        transpose(state.of(head), state.dim, state.dim_v, transposed.of(head));
    });
    if (r.k_map) map_oja_keys(r, rows, context);
    scan::run(learn, {}, transposed, context);
    scan::run(read, o, state, context);
}

/// A few tokens, a head a task.
inline void run_oja_steps(const scan::Request& r, Heads<float> o, LinearState& state, Context& context) {
    OjaSteps steps{r, o, &state};
    const std::int64_t heads = std::max(r.k.heads, r.v.heads),
                       floats = OjaSteps::scratch_floats(o.heads / heads, r.k.dim, r.v.dim);
    auto* const scratch = reinterpret_cast<float*>(context.workspace().reserve(
        static_cast<std::size_t>(floats * context.executor().concurrency()) * sizeof(float)));
    scan::begin_state(r, state);
    context.executor().parallel_for(
        heads, [&, step = oja_steps()](std::int64_t head, int slot) { step(steps, head, scratch + slot * floats); });
}

}  // namespace detail

ATTENTA_INLINE void gated_oja_rule(const GatedOjaRuleInputs& x, Heads<float> o, LinearState& state,
                                   const GatedOjaRuleOptions& options, Context& context) {
    scan::Request r{.function = "gated_oja_rule", .q = x.q, .k = x.k, .v = x.v, .gv = x.gv, .beta = x.beta};
    const features::L2Norm norm{options.eps};
    detail::require_not_negative(r.function, "eps", options.eps);
    if (options.qk_l2norm) r.q_map = r.k_map = {features::l2_norm(), &norm};
    r.scale = detail::scale_or_default(options.scale, x.q.dim);
    scan::check(r, InputList(x), o, state, options.check_data);
    const bool few = x.k.tokens <= scan::few_tokens;
    few ? detail::run_oja_steps(r, o, state, context) : detail::run_oja_scans(r, o, state, context);
}

ATTENTA_END
