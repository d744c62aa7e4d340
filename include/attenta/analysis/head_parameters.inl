#pragma once

#include <attenta/analysis/common/arrays.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/row_norms.hpp>
#include <attenta/analysis/head_parameters.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// Norms of the embeddings.
inline std::vector<double> check_head_parameters(const HeadParametersInputs& x, const HeadParametersOutputs& out,
                                                 const HeadParametersOptions& options, Context& context) {
    Check check("head_parameters", x);
    const std::int64_t heads = x.w_o.size(0), vocabulary = x.unembed.size(1);
    if (heads % x.w_v.size(0) != 0)
        check.refuse("w_v has " + checks::text(x.w_v.size(0)) + " heads, needs a divisor of the " +
                     checks::text(heads) + " of w_o");
    check.range("k", options.k, 1, vocabulary);
    check.range("top", options.top, 1, vocabulary);
    for (const std::int64_t target : x.targets) check.range("targets", target, 0, vocabulary - 1);
    check.finite_numbers("embeddings", x.embeddings);
    check.finite_numbers("w_v", x.w_v);
    check.finite_numbers("w_o", x.w_o);
    check.finite_numbers("unembed", x.unembed);
    check.scratch("what the heads write", heads, x.embeddings.size(0), x.embeddings.size(1));
    check.scratch("the values", x.w_v.size(0), x.embeddings.size(0), x.w_v.size(2));
    check.outputs(out, x, options);
    std::vector<double> norms = row_norms(x.embeddings.data, x.embeddings.size(0), x.embeddings.size(1), context);
    if (const auto zero = std::find(norms.begin(), norms.end(), 0.0); zero != norms.end())
        check.refuse("embeddings are 0 in row " + std::to_string(zero - norms.begin()) +
                     ", needs a number that is not");
    return norms;
}

/// What the heads write [Hq·N, d].
inline std::vector<float> moved_embeddings(const HeadParametersInputs& x, Context& context) {
    const std::int64_t heads = x.w_o.size(0), kv_heads = x.w_v.size(0), count = x.embeddings.size(0),
                       dim = x.embeddings.size(1), dim_v = x.w_v.size(2);
    std::vector<float> values(static_cast<std::size_t>(kv_heads * count * dim_v)),
        moved(static_cast<std::size_t>(heads * count * dim));
    dense::multiply(x.embeddings.matrices(), x.w_v.matrices(), {values.data(), kv_heads, count, dim_v}, {}, context);
    dense::multiply({values.data(), kv_heads, count, dim_v}, x.w_o.matrices(), {moved.data(), heads, count, dim}, {},
                    context);
    return moved;
}

/// f(row, its logits) for all rows of `moved`, on any thread. So many rows at a time that the unembedding is seldom read; f may
/// overwrite the logits.
template <class F>
void for_logits(const std::vector<float>& moved, const DenseTensor<const float, 2>& unembed, Context& context, F&& f) {
    constexpr std::int64_t least = 64, at_a_time = std::int64_t{1} << 22;
    const std::int64_t dim = unembed.size(0), vocabulary = unembed.size(1), rows = std::ssize(moved) / dim,
                       step = std::min(rows, std::max(least, at_a_time / vocabulary));
    std::vector<float> logits(static_cast<std::size_t>(step * vocabulary));
    for (std::int64_t first = 0; first < rows; first += step) {
        const std::int64_t count = std::min(step, rows - first);
        dense::multiply({moved.data() + first * dim, 1, count, dim}, unembed.matrices(),
                        {logits.data(), 1, count, vocabulary}, {}, context);
        run_tasks(context.executor(), count,
                  [&](std::int64_t r, int) { f(first + r, logits.data() + r * vocabulary); });
    }
}

/// scores[h] = the share of a head's ranks below k.
inline void shares_below(const std::int64_t* rank, std::int64_t heads, std::int64_t count, std::int64_t k,
                         float* scores) {
    for (std::int64_t h = 0; scores && h < heads; ++h) {
        const auto below =
            std::count_if(rank + h * count, rank + (h + 1) * count, [k](std::int64_t r) { return r < k; });
        scores[h] = static_cast<float>(static_cast<double>(below) / static_cast<double>(count));
    }
}

}  // namespace detail

ATTENTA_INLINE void head_parameters(const HeadParametersInputs& x, const HeadParametersOutputs& out,
                                    const HeadParametersOptions& options, Context& context) {
    const std::vector<double> norms = detail::check_head_parameters(x, out, options, context);
    const std::int64_t heads = x.w_o.size(0), count = x.embeddings.size(0), rows = heads * count,
                       vocabulary = x.unembed.size(1);
    const std::vector<float> moved = detail::moved_embeddings(x, context);
    if (out.amplification) {
        const std::vector<double> after = row_norms(moved.data(), rows, x.embeddings.size(1), context);
        for (std::int64_t r = 0; r < rows; ++r)
            out.amplification[r] =
                static_cast<float>(after[static_cast<std::size_t>(r)] / norms[static_cast<std::size_t>(r % count)]);
    }
    if (!out.rank && !out.relation_score && !out.suppression_score && !out.top_tokens) return;
    Arrays<std::int64_t> arrays;
    std::int64_t *const rank = arrays.wanted_or_own(out.rank, rows), *const low = arrays.take(rows);
    detail::for_logits(moved, x.unembed, context, [&](std::int64_t r, float* logits) {
        const std::int64_t target = x.targets[static_cast<std::size_t>(r % count)];
        rank[r] = count_stronger()(logits, vocabulary, target);
        if (out.top_tokens) largest(logits, vocabulary, options.top, out.top_tokens + r * options.top);
        if (!out.suppression_score) return;
        scale_weights()(logits, vocabulary, -1.f, logits);
        low[r] = count_stronger()(logits, vocabulary, target);
    });
    detail::shares_below(rank, heads, count, options.k, out.relation_score);
    detail::shares_below(low, heads, count, options.k, out.suppression_score);
}

}  // namespace analysis

ATTENTA_END
