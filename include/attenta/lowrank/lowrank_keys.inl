#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/lowrank/lowrank_keys.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE std::int64_t KeyBasis::rank(double variance) const {
    if (!(variance > 0 && variance < 1))
        fail("KeyBasis::rank", "variance is " + std::to_string(variance) + ", needs a number between 0 and 1");
    std::int64_t most = 1;
    for (std::int64_t h = 0; h < heads; ++h) {
        double share = 0;
        std::int64_t below = 0;
        for (; below < dim; ++below) {
            share += explained_variance_ratio[static_cast<std::size_t>(h * dim + below)];
            if (share >= variance) break;
        }
        most = std::max(most, below);
    }
    return most;
}

ATTENTA_INLINE Matrices<const float> KeyBasis::leading(std::int64_t r) const {
    if (r < 1 || r > dim)
        fail("KeyBasis::leading", "rank is " + std::to_string(r) + ", needs 1 to " + std::to_string(dim));
    return {components.data(), heads, dim, r, dim, dim * dim};
}

ATTENTA_INLINE void KeyBasis::projector(std::int64_t r, Heads<float> to, Context& context) const {
    checks::check_output("KeyBasis::projector", heads, dim, dim, to, "to");
    dense::multiply(leading(r), leading(r), dense::matrices_of(to), {.b_transposed = true}, context);
}

ATTENTA_INLINE void KeyBasis::project(Heads<const float> x, Heads<float> to, Context& context) const {
    if (heads < 1 || x.heads < 1 || x.heads % heads != 0 || x.dim != dim)
        fail("KeyBasis::project", "x has " + checks::text(x.heads) + " heads of " + checks::text(x.dim) +
                                      " features, needs a multiple of " + checks::text(heads) + " heads of " +
                                      checks::text(dim));
    detail::project(x, leading(to.dim), 1, to, context);
}

namespace detail {

/// Throws Error on what does not fit. Returns the rank.
inline std::int64_t check_lowrank_keys(const LowRankKeysInputs& x, const LowRankKeysOutputs& out,
                                       const LowRankKeysOptions& options) {
    LowRankCheck check("lowrank_keys", InputList(x));
    check.groups(x.q, x.k.heads);
    check.causal(options.causal, x.q.tokens, x.k.tokens);
    check.finite("scale", options.scale);
    if (!x.basis) check.refuse("basis is null, needs that of the keys");
    if (x.basis->heads != x.k.heads || x.basis->dim != x.k.dim)
        check.refuse("basis is of " + checks::text(x.basis->heads) + " heads of " + checks::text(x.basis->dim) +
                     " features, needs " + checks::text(x.k.heads) + " of " + checks::text(x.k.dim));
    if (options.rank.has_value() == options.variance.has_value())
        check.refuse(std::string("rank and variance are ") + (options.rank ? "both" : "not") + " given, needs one");
    if (options.rank && (*options.rank < 1 || *options.rank > x.k.dim))
        check.refuse("rank is " + checks::text(*options.rank) + ", needs 1 to the " + checks::text(x.k.dim) +
                     " features of k");
    if (options.variance && !(*options.variance > 0 && *options.variance < 1))
        check.refuse("variance is " + std::to_string(*options.variance) + ", needs a number between 0 and 1");
    check.numbers(options.check_data);
    check.output("o", out.o, x.q.heads, x.q.tokens, x.v.dim);
    check.output("lse", out.lse, x.q.heads, x.q.tokens, 1);
    if (out.scores) check.scratch("scores", x.q.heads, x.q.tokens, x.k.tokens);
    check.output("scores", out.scores, x.q.heads, x.q.tokens, x.k.tokens);
    return options.rank ? *options.rank : x.basis->rank(*options.variance);
}

}  // namespace detail

ATTENTA_INLINE void lowrank_keys(const LowRankKeysInputs& x, const LowRankKeysOutputs& out,
                                 const LowRankKeysOptions& options, Context& context) {
    const std::int64_t rank = detail::check_lowrank_keys(x, out, options);
    detail::CallArrays arrays(context);
    const Heads<float> q = arrays.heads(x.q.heads, x.q.tokens, rank), k = arrays.heads(x.k.heads, x.k.tokens, rank);
    x.basis->project(x.q, q, context);
    x.basis->project(x.k, k, context);
    SoftmaxOptions softmax;
    softmax.scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    softmax.causal = options.causal;
    const KvView kv = KvView::of(k, x.v);
    softmax_attention(q, kv, out.o, softmax, out.lse, context);
    if (out.scores) softmax_scores(q, kv, out.scores, ScoreStage::scaled, softmax, context);
}

ATTENTA_END
