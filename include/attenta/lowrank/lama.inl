#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/scan/features.hpp>
#include <attenta/lowrank/kernels.hpp>
#include <attenta/lowrank/lama.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace detail {

inline Heads<float> rows_of(const Matrices<float>& x) { return {x.data, 1, x.rows, x.cols, 0, x.row_stride}; }

inline void check_lama(const LamaInputs& x, const LamaOutputs& out, const LamaOptions& options) {
    LowRankCheck check("lama", InputList(x));
    check.numbers(options.check_data);
    check.scratch("scores", 1, x.p_weight.rows, x.x.rows);
    if (out.o.heads != 1) check.refuse("o has " + checks::text(out.o.heads) + " matrices, needs 1");
    check.output("o", rows_of(out.o), 1, x.p_weight.rows, x.x.cols);
    check.output("weights", out.weights, 1, x.p_weight.rows, x.x.rows);
}

/// The mean of the rows of x, or what is given.
inline const float* lama_context(const LamaInputs& x, CallArrays& arrays, Context& context) {
    if (!x.context.empty()) return x.context.data();
    float* const mean = arrays.take(x.x.cols);
    constexpr std::int64_t of_task = 64;
    for_rows(context, 1, x.x.cols, of_task, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        lowrank::weighted_sum()({x.x.data + begin, x.x.row_stride, x.x.rows, end - begin}, nullptr,
                                1.f / static_cast<float>(x.x.rows), false, mean + begin);
    });
    return mean;
}

}  // namespace detail

ATTENTA_INLINE void lama(const LamaInputs& x, const LamaOutputs& out, const LamaOptions& options, Context& context) {
    detail::check_lama(x, out, options);
    detail::CallArrays arrays(context);
    const std::int64_t heads = x.p_weight.rows, tokens = x.x.rows;
    const Matrices<float> scores{out.weights ? out.weights : arrays.take(heads * tokens), 1, heads, tokens};
    float* const gain = arrays.take(heads);
    lowrank::row_products()(detail::lama_context(x, arrays, context),
                            {x.p_weight.data, x.p_weight.row_stride, heads, x.p_weight.cols}, gain);
    dense::multiply(x.q_weight, x.x, scores, {.b_transposed = true}, context);
    constexpr std::int64_t of_task = 1024;
    detail::for_rows(context, 1, tokens, of_task, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        lowrank::finish_lama_scores()({scores.data + begin, tokens, heads, end - begin, gain,
                                       options.activation == LamaActivation::tanh, options.normalize_heads});
    });
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        float* const row = scores.data + h * tokens;
        features::softmax_features()({nullptr, tokens, tokens}, row, row);
    });
    dense::multiply(detail::read(scores), x.x, out.o, {}, context);
}

ATTENTA_END
