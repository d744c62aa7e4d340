#pragma once

#include <attenta/analysis/common/arrays.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/function_vector.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_function_vector(const FunctionVectorInputs& x, const FunctionVectorOutputs& out,
                                  const FunctionVectorOptions& options) {
    Check check("function_vector", x);
    if (options.mode == HeadChoice::top) {
        check.needs("effect", bool{x.effect}, "mode top");
        check.range("top", options.top, 1, x.o.count(1, 3));
        check.finite_numbers("effect", x.effect);
    } else {
        check.needs("weight", bool{x.weight}, "mode weighted");
        check.finite_numbers("weight", x.weight);
    }
    check.finite_numbers("o", x.o);
    check.finite_numbers("w_o", x.w_o);
    check.outputs(out, x, options);
}

/// The heads l·H + h of the largest mean effect.
inline std::vector<std::int64_t> most_effective_heads(const DenseTensor<const float, 3>& effect, std::int64_t top) {
    const std::int64_t heads = effect.count(1, 3);
    std::vector<double> sum(static_cast<std::size_t>(heads));
    for (std::int64_t n = 0; n < effect.size(0); ++n)
        std::transform(sum.begin(), sum.end(), effect.data + n * heads, sum.begin(),
                       [](double so_far, float e) { return so_far + double{e}; });
    std::vector<std::int64_t> best = descending(std::span<const double>(sum));
    best.resize(static_cast<std::size_t>(top));
    return best;
}

/// vector += mean_h W_O,h of one head.
inline void add_head(const FunctionVectorInputs& x, std::int64_t head, const float* mean, float* vector,
                     Context& context) {
    const std::int64_t dim = x.w_o.size(2), width = x.w_o.size(3);
    dense::multiply({mean + head * dim, 1, 1, dim}, {x.w_o.data + head * dim * width, 1, dim, width},
                    {vector, 1, 1, width}, {.add = true}, context);
}

/// All heads at once, as one product with their means side by side.
inline void weigh_heads(const FunctionVectorInputs& x, const float* mean, float* vector, Context& context) {
    const std::int64_t heads = x.weight.count(), dim = x.w_o.size(2), width = x.w_o.size(3);
    std::vector<float> weighted(static_cast<std::size_t>(heads * dim));
    for (std::int64_t h = 0; h < heads; ++h)
        scale_weights()(mean + h * dim, dim, x.weight.data[h], weighted.data() + h * dim);
    dense::multiply({weighted.data(), 1, 1, heads * dim}, {x.w_o.data, 1, heads * dim, width}, {vector, 1, 1, width},
                    {}, context);
}

}  // namespace detail

ATTENTA_INLINE void function_vector(const FunctionVectorInputs& x, const FunctionVectorOutputs& out,
                                    const FunctionVectorOptions& options, Context& context) {
    detail::check_function_vector(x, out, options);
    const std::int64_t prompts = x.o.size(0), heads = x.o.size(2), numbers = x.o.count(1, 4);
    std::vector<std::int64_t> best;
    if (options.mode == HeadChoice::top) best = detail::most_effective_heads(x.effect, options.top);
    for (std::size_t n = 0; out.heads && n < best.size(); ++n) {
        out.heads[2 * n] = best[n] / heads;
        out.heads[2 * n + 1] = best[n] % heads;
    }
    if (!out.mean && !out.vector) return;
    Arrays<float> arrays;
    float* const mean = arrays.wanted_or_own(out.mean, numbers);
    column_sums({x.o.data, 1, prompts, numbers}, 1.f / static_cast<float>(prompts), mean, context);
    if (!out.vector) return;
    if (options.mode == HeadChoice::weighted) return detail::weigh_heads(x, mean, out.vector, context);
    std::fill_n(out.vector, x.w_o.size(3), 0.f);
    for (const std::int64_t h : best) detail::add_head(x, h, mean, out.vector, context);
}

}  // namespace analysis

ATTENTA_END
