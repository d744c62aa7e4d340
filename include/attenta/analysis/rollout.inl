#pragma once

#include <attenta/analysis/common/layer_mix.hpp>
#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/rollout.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// to[j] = the largest number of column j, NaN where there is one.
inline void column_maxima(const float* x, std::int64_t rows, std::int64_t cols, float* to) {
    std::copy_n(x, cols, to);
    for (std::int64_t i = 1; i < rows; ++i)
        for (std::int64_t j = 0; j < cols; ++j) {
            const float e = x[i * cols + j];
            to[j] = e > to[j] || e != e ? e : to[j];
        }
}

}  // namespace detail

ATTENTA_INLINE void rollout(const RolloutInputs& x, const RolloutOutputs& out, const RolloutOptions& options,
                            Context& context) {
    Check check("rollout", x);
    check.within("residual", options.residual, 0, 1);
    check.outputs(out, x, options);
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), tokens = x.attn.size(2);
    const std::int64_t square = tokens * tokens;
    const auto residual = static_cast<float>(options.residual);
    Arrays<float> arrays;
    float* const mixed = arrays.take(layers * square);
    head_means(x.attn, mixed, context);
    mix_with_identity(mixed, layers, tokens, residual, mixed, context);
    float* const rolled = arrays.wanted_or_own(out.rollout, layers * square);
    float* const of_heads = out.head_rollout ? arrays.take(heads * square) : nullptr;
    const auto matrix = [&](float* data, std::int64_t count = 1) {
        return Matrices<float>{data, count, tokens, tokens};
    };
    const auto read = [](const Matrices<float>& m) { return Matrices<const float>{m.data, m.heads, m.rows, m.cols}; };
    for (std::int64_t l = 0; l < layers; ++l) {
        float *const layer = rolled + l * square, *const below = layer - square;
        float* const each = out.head_rollout ? out.head_rollout + l * heads * square : nullptr;
        float* const mixed_heads = l == 0 ? each : of_heads;
        if (each) mix_with_identity(x.attn.data + l * heads * square, heads, tokens, residual, mixed_heads, context);
        if (l == 0) {
            std::copy_n(mixed, square, layer);
        } else {
            dense::multiply(read(matrix(mixed + l * square)), read(matrix(below)), matrix(layer), {}, context);
            if (each)
                dense::multiply(read(matrix(mixed_heads, heads)), read(matrix(below)), matrix(each, heads), {},
                                context);
        }
        if (out.relevance) detail::column_maxima(layer, tokens, tokens, out.relevance + l * tokens);
    }
}

ATTENTA_INLINE void rollout_row(const RolloutInputs& x, std::int64_t position, std::span<float> row,
                                const RolloutOptions& options, Context& context) {
    const Check check("rollout_row", x);
    check.within("residual", options.residual, 0, 1);
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), tokens = x.attn.size(2);
    check.range("position", position, 0, tokens - 1);
    if (static_cast<std::int64_t>(row.size()) != tokens)
        check.refuse("row has " + std::to_string(row.size()) + " numbers, needs " + std::to_string(tokens));
    const NamedBytes attn{"attn", bytes_of(std::span(x.attn.data, static_cast<std::size_t>(x.attn.count())))};
    checks::check_apart("rollout_row", "row", bytes_of(row), {&attn, 1});

    const auto residual = static_cast<float>(options.residual);
    const float of_head = (1 - residual) / static_cast<float>(heads);
    const SumOfWeights sum = sum_of_weights();
    const AddWeightedRow add = add_weighted_row();
    std::vector<float> above(row.size()), below(row.size()), totals(row.size());
    above[static_cast<std::size_t>(position)] = 1;
    for (std::int64_t l = layers - 1; l >= 0; --l) {
        const auto weights = [&](std::int64_t h, std::size_t i) {
            return x.attn.data + ((l * heads + h) * tokens + static_cast<std::int64_t>(i)) * tokens;
        };
        constexpr std::int64_t of_task = 64;
        for_pieces(context, tokens, of_task, [&](std::int64_t begin, std::int64_t end) {
            for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
                totals[i] = 0;
                if (above[i] == 0) continue;  // its row may hold NaN
                totals[i] = residual;
                for (std::int64_t h = 0; h < heads; ++h) totals[i] += of_head * sum(weights(h, i), tokens);
            }
        });
        std::fill(below.begin(), below.end(), 0.f);
        for (std::size_t i = 0; i < above.size(); ++i) {
            if (totals[i] == 0) continue;
            const float share = above[i] / totals[i];
            for (std::int64_t h = 0; h < heads; ++h) add(weights(h, i), tokens, share * of_head, below.data());
            below[i] += share * residual;
        }
        above.swap(below);
    }
    std::copy(above.begin(), above.end(), row.begin());
}

}  // namespace analysis

ATTENTA_END
