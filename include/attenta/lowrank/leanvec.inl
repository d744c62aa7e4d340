#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/lists/key_lists.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/lowrank/kernels.hpp>
#include <attenta/lowrank/leanvec.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE void Leanvec::product(Heads<float> to, Context& context) const {
    checks::check_output("Leanvec::product", heads, dim, dim, to, "to");
    dense::multiply(of_queries(), of_keys(), dense::matrices_of(to), {.b_transposed = true}, context);
}

ATTENTA_INLINE void Leanvec::project_keys(Heads<const float> k, Heads<float> to, Context& context) const {
    const char* f = "Leanvec::project_keys";
    if (heads < 1 || k.heads != heads || k.dim != dim)
        fail(f, "k has " + checks::text(k.heads) + " heads of " + checks::text(k.dim) + " features, needs " +
                    checks::text(heads) + " of " + checks::text(dim));
    checks::check_output(f, heads, k.tokens, rank, to, "to");
    detail::project(k, of_keys(), 1, to, context);
}

namespace detail {

inline void check_leanvec(const LeanvecInputs& x, const LeanvecOutputs& out, const LeanvecOptions& options) {
    LowRankCheck check("leanvec", InputList(x));
    check.groups(x.q, x.k.heads);
    check.causal(options.causal, x.q.tokens, x.k.tokens);
    check.finite("scale", options.scale);
    if (!x.projections) check.refuse("projections is null, needs those of the keys");
    if (x.projections->heads != x.k.heads || x.projections->dim != x.k.dim)
        check.refuse("projections are of " + checks::text(x.projections->heads) + " heads of " +
                     checks::text(x.projections->dim) + " features, needs " + checks::text(x.k.heads) + " of " +
                     checks::text(x.k.dim));
    if (x.low_k.data && x.low_k.dim != x.projections->rank)
        check.refuse("low_k has " + checks::text(x.low_k.dim) + " features, needs the " +
                     checks::text(x.projections->rank) + " of projections");
    check.at_least("top_k", options.top_k, 1);
    if (options.candidates < options.top_k)
        check.refuse("candidates is " + checks::text(options.candidates) + ", needs at least the " +
                     checks::text(options.top_k) + " of top_k");
    const std::int64_t least = options.causal ? x.k.tokens - x.q.tokens + 1 : x.k.tokens;
    if (options.candidates > least)
        check.refuse("candidates is " + checks::text(options.candidates) + ", needs at most the " +
                     checks::text(least) + " keys that every query sees");
    check.numbers(options.check_data);
    for (const std::int64_t n : {options.candidates, x.projections->rank, out.scores ? x.k.tokens : 1})
        check.scratch("a row for each query", x.q.heads, x.q.tokens, n);
    check.output("indices", out.indices, x.q.heads, x.q.tokens, options.top_k);
    check.output("rerank_scores", out.rerank_scores, x.q.heads, x.q.tokens, options.top_k);
    check.output("scores", out.scores, x.q.heads, x.q.tokens, x.k.tokens);
}

/// The best of a list's keys by q·k in double precision, so that nearly equal ones have an order.
class LeanvecRanking {
public:
    void reserve(std::int64_t candidates) {
        const auto n = static_cast<std::size_t>(candidates);
        keys_.reserve(n), order_.reserve(n), exact_.reserve(n);
    }

    /// Of a query and the keys of its head.
    void rank(const float* q, const lowrank::Rows& k, double scale, std::span<const KeyRun> runs, std::int64_t top_k,
              std::int64_t* indices, float* scores) {
        keys_.clear();
        for (const KeyRun& run : runs)
            for (std::int32_t i = 0; i < run.count; ++i) keys_.push_back(run.start + i);
        exact_.resize(keys_.size());
        lowrank::exact_products()(q, k, keys_.data(), std::ssize(keys_), scale, exact_.data());
        order_.clear();
        for (std::int32_t i = 0; i < std::ssize(keys_); ++i) order_.push_back(i);
        const auto exact = [this](std::int32_t i) { return exact_[static_cast<std::size_t>(i)]; };
        // NaN stands behind all numbers.
        const auto before = [&](std::int32_t a, std::int32_t b) {
            const double x = exact(a), y = exact(b);
            if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
            return x != y ? x > y : a < b;
        };
        const std::int64_t count = std::min<std::int64_t>(top_k, std::ssize(order_));
        std::partial_sort(order_.begin(), order_.begin() + count, order_.end(), before);
        for (std::int64_t n = 0; n < top_k; ++n) {
            const std::int32_t i = n < count ? order_[static_cast<std::size_t>(n)] : -1;
            if (indices) indices[n] = i < 0 ? -1 : keys_[static_cast<std::size_t>(i)];
            if (scores) scores[n] = i < 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(exact(i));
        }
    }

private:
    std::vector<std::int32_t> keys_, order_;
    std::vector<double> exact_;
};

/// What the context keeps of a call.
struct LeanvecMemory {
    KeyLists lists;
    std::vector<LeanvecRanking> slots;  ///< of the executor
};

/// The candidates of each query head and query.
inline void select_candidates(Heads<const float> q, Heads<const float> k, const LeanvecOptions& options,
                              KeyLists& lists, Context& context) {
    select::Request r{.function = "leanvec", .q = q, .keys = KvView::of(k, k), .heads = q.heads};
    r.visible_keys = r.units = {.count = k.tokens, .causal = options.causal, .shift = 1};
    r.top = options.candidates;
    r.q_offset = k.tokens - q.tokens;
    r.cache_keys = k.tokens;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void leanvec(const LeanvecInputs& x, const LeanvecOutputs& out, const LeanvecOptions& options,
                            Context& context) {
    detail::check_leanvec(x, out, options);
    const float scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    const Leanvec& fit = *x.projections;
    detail::CallArrays arrays(context);
    // The scale goes with the queries: a negative one turns the order of the keys round.
    const Heads<float> q = arrays.heads(x.q.heads, x.q.tokens, fit.rank);
    detail::project(x.q, fit.of_queries(), scale, q, context);
    Heads<const float> k = x.low_k;
    if (!k.data) {
        const Heads<float> made = arrays.heads(x.k.heads, x.k.tokens, fit.rank);
        fit.project_keys(x.k, made, context);
        k = made;
    }
    if (out.scores) {
        SoftmaxOptions plain;
        plain.scale = 1;
        softmax_scores(q, KvView::of(k, k), out.scores, ScoreStage::scaled, plain, context);
    }
    if (!out.indices && !out.rerank_scores) return;
    auto& memory = context.kept<detail::LeanvecMemory>();
    detail::select_candidates(q, k, options, memory.lists, context);
    memory.slots.resize(static_cast<std::size_t>(context.executor().concurrency()));
    for (detail::LeanvecRanking& slot : memory.slots) slot.reserve(options.candidates);
    context.executor().parallel_for(x.q.heads * x.q.tokens, [&](std::int64_t row, int slot) {
        const std::int64_t h = row / x.q.tokens, at = row * options.top_k;
        const lowrank::Rows keys{x.k.row(h / (x.q.heads / x.k.heads), 0), x.k.token_stride, x.k.tokens, x.k.dim};
        memory.slots[static_cast<std::size_t>(slot)].rank(
            x.q.row(h, row % x.q.tokens), keys, double{scale}, memory.lists.runs(row), options.top_k,
            out.indices ? out.indices + at : nullptr, out.rerank_scores ? out.rerank_scores + at : nullptr);
    });
}

ATTENTA_END
