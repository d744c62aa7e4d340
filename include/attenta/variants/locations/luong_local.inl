#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/locations/kernels.hpp>
#include <attenta/variants/locations/luong_local.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct LuongLocalMemory {
    LuongMemory scores;
    std::vector<float> hidden, position, fraction;
    std::vector<std::int64_t> centre;
    std::vector<RowStatistics> rows;
};

/// Keys within `window` of a row's centre, centre [heads, queries].
struct LocalWindows {
    const std::int64_t* centre;
    std::int64_t queries, window, group;

    Spans spans(const QueryRow& r) const { return {around(r.head, r.index), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval tile = keys.range();
        bool any = false, all = true;
        for_rows(a, b, [&](const Interval& row) {
            any = any || !intersect(row, tile).empty();
            all = all && row.begin <= tile.begin && tile.end <= row.end;
        });
        return !any ? Cover::none : all ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        Interval h;
        for_rows(a, b, [&](const Interval& row) { h = attenta::hull(h, row); });
        return h;
    }

private:
    Interval around(std::int64_t head, std::int64_t query) const {
        const std::int64_t c = centre[head * queries + query];
        return {saturating::add(c, -window), saturating::add(saturating::add(c, window), 1)};
    }
    template <class F>
    void for_rows(const QueryRow& a, const QueryRow& b, F&& f) const {
        const std::int64_t first = a.head / group * group;
        for (std::int64_t h = first; h < first + group; ++h)
            for (std::int64_t i = a.index; i <= b.index; ++i) f(around(h, i));
    }
};

inline void check_local(const LuongLocalInputs& x, const LuongLocalOutputs& out, const LuongLocalOptions& options,
                        const InputList& inputs) {
    const char* const f = "luong_local";
    checks::require_at_least(f, "window", options.window, 1);
    if (options.sigma && !(*options.sigma > 0.f && is_finite(*options.sigma)))
        fail(f, "sigma is " + std::to_string(*options.sigma) + ", needs a finite number above 0");
    if (options.mode == LuongPosition::p) {
        if (!x.w_p) fail(f, "w_p is null, mode p needs a tensor");
        if (x.v_p.empty()) fail(f, "v_p is null, mode p needs a tensor");
        check_table(f, "W_p q", x.q.heads, x.q.tokens, x.w_p.rows);
    }
    OutputMemory outputs(f, inputs, x.q, x.kv, out.o, nullptr);
    outputs.add("position", hnd(out.position, x.q.heads, x.q.tokens, 1));
}

/// p_i of all rows, as its floor and what is left.
inline void place_queries(const LuongLocalInputs& x, const LuongLocalOptions& options, LuongLocalMemory& m,
                          Context& context) {
    const std::int64_t queries = x.q.tokens, count = x.q.heads * queries, keys = x.kv.length(0);
    m.position.resize(static_cast<std::size_t>(count));
    m.fraction.resize(static_cast<std::size_t>(count));
    m.centre.resize(static_cast<std::size_t>(count));
    if (options.mode == LuongPosition::p) {
        const std::int64_t width = x.w_p.rows;
        m.hidden.resize(static_cast<std::size_t>(count * width));
        dense::multiply(dense::matrices_of(x.q), x.w_p, {m.hidden.data(), x.q.heads, queries, width},
                        {.b_transposed = true}, context);
        run_tasks(context.executor(), x.q.heads, [&](std::int64_t h, int) {
            network::sum_tanh_rows()({m.hidden.data() + h * queries * width, width, queries, width, x.v_p.data()},
                                     m.position.data() + h * queries);
        });
    }
    for (std::size_t i = 0; i < m.position.size(); ++i) {
        if (options.mode == LuongPosition::m) {
            m.centre[i] = saturating::add(static_cast<std::int64_t>(i) % queries, options.offset);
            m.fraction[i] = 0;
            m.position[i] = static_cast<float>(m.centre[i]);
            continue;
        }
        const double p = static_cast<double>(keys) / (1 + std::exp(-static_cast<double>(m.position[i]))),
                     floor = std::isnan(p) ? 0 : std::floor(p);
        m.centre[i] = static_cast<std::int64_t>(floor);
        m.fraction[i] = static_cast<float>(p - floor);
        m.position[i] = static_cast<float>(p);
    }
}

/// The Gaussian comes on exact weights, which a first pass makes known.
inline void attend_then_weigh(SoftmaxCall& call, const ScoreEdit& gaussian, LuongLocalMemory& m) {
    attention::Request& r = call.request;
    m.rows.assign(static_cast<std::size_t>(r.q.heads * r.q.tokens), {});
    r.two_passes = true;
    r.values = false;
    attention::plan(r, *call.context).run(r.q, r.kv, {}, nullptr, {.found = m.rows.data()});
    r.values = true;
    r.weight_edits = {gaussian};
    attention::plan(r, *call.context).run(r.q, r.kv, call.out.o, nullptr, {.known = m.rows.data()});
}

/// Rows without a position have no window.
inline void finish_local(const LuongLocalOutputs& out, const LuongLocalMemory& m) {
    if (out.position) std::copy(m.position.begin(), m.position.end(), out.position);
    for (std::size_t i = 0; i < m.position.size(); ++i) {
        const auto row = static_cast<std::int64_t>(i);
        if (std::isnan(m.position[i]))
            std::fill_n(out.o.row(row / out.o.tokens, row % out.o.tokens), out.o.dim,
                        std::numeric_limits<float>::quiet_NaN());
    }
}

}  // namespace detail

ATTENTA_INLINE void luong_local(const LuongLocalInputs& x, const LuongLocalOutputs& out,
                                const LuongLocalOptions& options, Context& context) {
    const char* const f = "luong_local";
    const InputList inputs(x);
    const SoftmaxOutputs attended{out.o};
    detail::SoftmaxCall call =
        detail::check_pairs({f, inputs, x.q, x.kv, attended, options.scale.value_or(1.f)}, {}, context);
    const detail::LuongTensors scored{f, options.score, x.q, x.kv, x.w_a, x.v_a};
    detail::check_luong(scored);
    detail::check_local(x, out, options, inputs);

    const detail::CallMemory<detail::LuongLocalMemory> memory(x.q.tokens, context);
    detail::place_queries(x, options, *memory, context);
    detail::score_luong(scored, call.request, memory->scores, context);
    call.request.masks.push_back(
        detail::LocalWindows{memory->centre.data(), x.q.tokens, options.window, x.q.heads / x.kv.heads});
    const float sigma = options.sigma.value_or(static_cast<float>(options.window) / 2.f);
    const ScoreEdit gaussian = edit(locations::GaussianFactor{memory->centre.data(), memory->fraction.data(),
                                                              x.q.tokens, 1.f / (2.f * sigma * sigma)});
    const bool wanted = options.gaussian.value_or(options.mode == LuongPosition::p);
    if (wanted && options.gaussian_on == GaussianOn::weights) {
        detail::attend_then_weigh(call, gaussian, *memory);
    } else {
        if (wanted) call.request.edits.push_back(gaussian);
        call.run();
    }
    detail::finish_local(out, *memory);
}

ATTENTA_END
