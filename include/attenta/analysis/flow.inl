#pragma once

#include <attenta/analysis/common/layer_mix.hpp>
#include <attenta/analysis/common/layered_flow.hpp>
#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/flow.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// How many layers the flow passes.
inline std::int64_t check_flow(const FlowInputs& x, const FlowOutputs& out, const FlowOptions& options) {
    Check check("flow", x);
    const std::int64_t layers = x.attn.size(0), tokens = x.attn.size(2);
    check.within("residual", options.residual, 0, 1);
    check.range("layer", options.layer, -1, layers - 1);
    const std::int64_t passed = options.layer < 0 ? layers : options.layer + 1;
    constexpr std::int64_t most_tokens = 512;
    if (passed > 2 && tokens > most_tokens)
        check.refuse("attn has " + checks::text(tokens) + " tokens, flow through more than 2 layers needs at most " +
                     checks::text(most_tokens));
    check.finite_numbers("attn", x.attn);
    if (std::any_of(x.attn.data, x.attn.data + x.attn.count(), [](float a) { return a < 0; }))
        check.refuse("attn has numbers below 0, needs weights");
    check.outputs(out, x, options);
    return passed;
}

/// Flow from each position above `layers` mixed layers [layers, T, T] to each token.
inline void flow_from(std::int64_t source, std::span<const double> mixed, std::int64_t layers, std::int64_t tokens,
                      double* to) {
    const auto at = [&](std::int64_t l, std::int64_t i, std::int64_t j) {
        return mixed[static_cast<std::size_t>((l * tokens + i) * tokens + j)];
    };
    if (layers == 1) {
        for (std::int64_t j = 0; j < tokens; ++j) to[j] = at(0, source, j);
    } else if (layers == 2) {
        std::fill_n(to, tokens, 0.0);
        for (std::int64_t m = 0; m < tokens; ++m)
            for (std::int64_t j = 0; j < tokens; ++j) to[j] += std::min(at(1, source, m), at(0, m, j));
    } else {
        LayeredFlow network(mixed, layers, tokens);
        for (std::int64_t j = 0; j < tokens; ++j) to[j] = network.maximum(source, j);
    }
}

}  // namespace detail

ATTENTA_INLINE void flow(const FlowInputs& x, const FlowOutputs& out, const FlowOptions& options, Context& context) {
    const std::int64_t layers = detail::check_flow(x, out, options), tokens = x.attn.size(2);
    const auto all = static_cast<std::size_t>(layers * tokens * tokens);
    std::vector<float> means(all);
    Weights passed = x.attn;
    passed.sizes[0] = layers;
    head_means(passed, means.data(), context);
    mix_with_identity(means.data(), layers, tokens, static_cast<float>(options.residual), means.data(), context);
    const std::vector<double> mixed(means.begin(), means.end());
    std::vector<double> found(static_cast<std::size_t>(tokens * tokens));
    context.executor().parallel_for(
        tokens, [&](std::int64_t i, int) { detail::flow_from(i, mixed, layers, tokens, found.data() + i * tokens); });
    std::vector<double> largest(static_cast<std::size_t>(tokens));
    for (std::int64_t i = 0; i < tokens; ++i) {
        const double* const row = found.data() + i * tokens;
        double sum = 0;
        for (std::int64_t j = 0; j < tokens; ++j) sum += row[j];
        for (std::int64_t j = 0; j < tokens; ++j) {
            const double weight = sum > 0 ? row[j] / sum : 0;
            if (out.flow) out.flow[i * tokens + j] = static_cast<float>(row[j]);
            if (out.weights) out.weights[i * tokens + j] = static_cast<float>(weight);
            double& most = largest[static_cast<std::size_t>(j)];
            most = std::max(most, weight);
        }
    }
    if (out.relevance)
        std::transform(largest.begin(), largest.end(), out.relevance, [](double r) { return static_cast<float>(r); });
}

}  // namespace analysis

ATTENTA_END
