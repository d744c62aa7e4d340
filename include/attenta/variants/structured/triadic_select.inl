#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/select/kernels.hpp>
#include <attenta/variants/structured/kernels.hpp>
#include <attenta/variants/structured/triadic_select.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct TriadicSelectMemory {
    std::vector<float> factor, q, k, v, attended;
    std::vector<std::int32_t> index;
};

/// Room for some channels of all tokens, of one thread.
struct SelectScratch {
    static constexpr std::int64_t channels = 16;

    float *rows, *columns;
    std::int32_t *chosen, *ranked;

    SelectScratch(Arena& arena, std::int64_t tokens) {
        rows = arena.take<float>(channels * channels);
        columns = arena.take<float>(channels * round_up(tokens, channels));
        chosen = arena.take<std::int32_t>(tokens);
        ranked = arena.take<std::int32_t>(2 * tokens);
    }
};

inline void check_triadic_select(const TriadicSelectInputs& x, const TriadicSelectOutputs& out,
                                 const TriadicSelectOptions& options) {
    LetterSizes known;
    known.set("1", 1);
    CheckedCall check("triadic_select", InputList(x), known);
    const std::int64_t heads = x.q.heads, tokens = x.q.tokens, dim = x.q.dim;
    check.at_least("top_k", options.top_k, 1);
    if (options.top_k > tokens)
        check.refuse("top_k is " + checks::text(options.top_k) + ", needs at most the " + checks::text(tokens) +
                     " tokens");
    if (tokens > std::numeric_limits<std::int32_t>::max() / 2)
        check.refuse("q has " + checks::text(tokens) + " tokens, needs fewer than 2^30");
    check.scratch("selected rows", heads, tokens, dim);
    check.output("o", out.o, heads, tokens + 1, dim);
    check.output("index", out.index, heads, options.top_k, dim);
}

/// The `top` largest of x in falling order, of equal ones the first; NaN comes last.
inline void rank_top(const float* x, std::int64_t n, std::int64_t top, const SelectScratch& s) {
    const std::int64_t count = select::top_of_row()(x, n, top, s.chosen, s.ranked);
    std::sort(s.chosen, s.chosen + count,
              [x](std::int32_t a, std::int32_t b) { return x[a] > x[b] || (x[a] == x[b] && a < b); });
    // What the selection leaves out: −∞, then NaN.
    std::int64_t filled = count;
    for (const bool numbers : {true, false})
        for (std::int64_t t = 0; t < n && filled < top; ++t)
            if (numbers ? x[t] == minus_infinity : x[t] != x[t]) s.chosen[filled++] = static_cast<std::int32_t>(t);
}

/// Rows 1 … of `to` [H, 1 + top_k, D] are the largest entries, row 0 is the latent.
inline void select_entries(const structured::Modulation& m, const Heads<const float>& latent, std::int64_t top,
                           float* to, std::int32_t* index, Context& context) {
    const std::int64_t heads = m.x.heads, tokens = m.x.tokens, dim = m.x.dim,
                       parts = ceil_div(dim, SelectScratch::channels),
                       stride = round_up(tokens, SelectScratch::channels);
    Arena counting(nullptr);
    SelectScratch{counting, tokens};
    const std::int64_t bytes = round_up(counting.used(), 64);
    std::byte* const memory =
        context.workspace().reserve(static_cast<std::size_t>(context.executor().concurrency() * bytes));
    run_tasks(context.executor(), heads * parts, [&](std::int64_t i, int slot) {
        Arena arena(memory + slot * bytes);
        const SelectScratch s(arena, tokens);
        const std::int64_t h = i / parts, begin = i % parts * SelectScratch::channels,
                           count = std::min(SelectScratch::channels, dim - begin);
        structured::Modulation of_head = m;
        of_head.factor += h * dim;
        structured::modulate_columns()(of_head, h, begin, count, s.rows, s.columns, stride);
        float* const rows = to + h * (top + 1) * dim;
        for (std::int64_t c = 0; c < count; ++c) {
            const float* const column = s.columns + c * stride;
            rank_top(column, tokens, top, s);
            rows[begin + c] = latent.row(h, 0)[begin + c];
            for (std::int64_t n = 0; n < top; ++n) {
                rows[(n + 1) * dim + begin + c] = column[s.chosen[n]];
                if (index) index[(h * top + n) * dim + begin + c] = s.chosen[n];
            }
        }
    });
}

/// o = [a_0; vm, with a added where its rows come from].
inline void put_back(const structured::Modulation& m, const TriadicSelectOutputs& out, std::int64_t top,
                     const TriadicSelectMemory& memory, Context& context) {
    constexpr std::int64_t of_task = 64;
    const std::int64_t tokens = m.x.tokens, dim = m.x.dim, parts = ceil_div(tokens, of_task);
    run_tasks(context.executor(), m.x.heads * parts, [&](std::int64_t i, int) {
        const std::int64_t h = i / parts, begin = i % parts * of_task;
        structured::Modulation of_head = m;
        of_head.factor += h * dim;
        for (std::int64_t t = begin; t < std::min(tokens, begin + of_task); ++t)
            structured::modulate_row()(of_head, h, t, out.o.row(h, t + 1));
    });
    run_tasks(context.executor(), m.x.heads, [&](std::int64_t h, int) {
        const float* const a = memory.attended.data() + h * (top + 1) * dim;
        const std::int32_t* const index = memory.index.data() + h * top * dim;
        std::copy_n(a, dim, out.o.row(h, 0));
        for (std::int64_t n = 0; n < top; ++n)
            for (std::int64_t d = 0; d < dim; ++d) out.o.row(h, index[n * dim + d] + 1)[d] += a[(n + 1) * dim + d];
    });
}

}  // namespace detail

ATTENTA_INLINE void triadic_select(const TriadicSelectInputs& x, const TriadicSelectOutputs& out,
                                   const TriadicSelectOptions& options, Context& context) {
    detail::check_triadic_select(x, out, options);
    const std::int64_t heads = x.q.heads, dim = x.q.dim, top = options.top_k, rows = top + 1;
    const detail::CallMemory<detail::TriadicSelectMemory> memory(x.q.tokens, context);
    detail::TriadicSelectMemory& m = *memory;
    // Factors of all heads: q_0, k_0 and that of values.
    m.factor.resize(static_cast<std::size_t>(3 * heads * dim));
    float *const of_q = m.factor.data(), *const of_k = of_q + heads * dim, *const of_v = of_k + heads * dim;
    for (std::int64_t h = 0; h < heads; ++h) {
        std::copy_n(x.q_latent.row(h, 0), dim, of_q + h * dim);
        std::copy_n(x.k_latent.row(h, 0), dim, of_k + h * dim);
        structured::latent_factor()(of_q + h * dim, of_k + h * dim, x.v_latent.row(h, 0), dim, of_v + h * dim);
    }
    for (std::vector<float>* selected : {&m.q, &m.k, &m.v, &m.attended})
        selected->resize(static_cast<std::size_t>(heads * rows * dim));
    m.index.resize(static_cast<std::size_t>(heads * top * dim));
    const structured::Modulation values{of_v, x.v, {}};
    detail::select_entries({of_q, x.q, x.k}, x.q_latent, top, m.q.data(), nullptr, context);
    detail::select_entries({of_k, x.k, x.q}, x.k_latent, top, m.k.data(), nullptr, context);
    detail::select_entries(values, x.v_latent, top, m.v.data(), m.index.data(), context);

    const auto selected = [&](const std::vector<float>& s) { return hnd(s.data(), heads, rows, dim); };
    attention::Request r;
    r.function = "triadic_select";
    r.q = selected(m.q);
    r.kv = KvView::of(selected(m.k), selected(m.v));
    r.scale = detail::scale_or_default({}, dim);
    attention::plan(r, context).run(r.q, r.kv, hnd(m.attended.data(), heads, rows, dim), nullptr);
    detail::put_back(values, out, top, m, context);
    if (out.index) std::copy(m.index.begin(), m.index.end(), out.index);
}

ATTENTA_END
