#pragma once

#include <attenta/analysis/head_similarity.hpp>
#include <attenta/analysis/kernels.hpp>

ATTENTA_BEGIN

namespace analysis {

ATTENTA_INLINE void head_similarity(const HeadSimilarityInputs& x, const HeadSimilarityOutputs& out,
                                    const HeadSimilarityOptions& options, Context& context) {
    Check check("head_similarity", x);
    check.within("smoothing", options.smoothing, 0, 1);
    check.outputs(out, x, options);
    if (!out.js) return;
    const std::int64_t heads = x.attn.count(0, 2), queries = x.attn.size(2), keys = x.attn.size(3);
    const auto gain = static_cast<float>(1 - options.smoothing),
               floor = static_cast<float>(options.smoothing / static_cast<double>(keys));
    const RowDivergence divergence = row_divergence();
    context.executor().parallel_for(heads * heads, [&](std::int64_t pair, int) {
        const std::int64_t a = pair / heads, b = pair % heads;
        if (a > b) return;
        double sum = 0;
        for (std::int64_t i = 0; i < queries; ++i)
            sum += double{divergence(x.attn.data + (a * queries + i) * keys, x.attn.data + (b * queries + i) * keys,
                                     keys, gain, floor)};
        out.js[a * heads + b] = out.js[b * heads + a] = static_cast<float>(sum);
    });
}

}  // namespace analysis

ATTENTA_END
