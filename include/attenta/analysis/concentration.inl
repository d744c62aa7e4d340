#pragma once

#include <attenta/analysis/common/queries_and_keys.hpp>
#include <attenta/analysis/common/score_rows.hpp>
#include <attenta/analysis/concentration.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// Mean and Σ (x − mean)² of numbers that come in parts. Chan et al. 1983.
struct Moments {
    double count = 0, mean = 0, squares = 0;

    void add(double n, double part_mean, double part_squares) {
        const double gap = part_mean - mean, all = count + n;
        squares += part_squares + gap * gap * count * n / all;
        mean += gap * n / all;
        count = all;
    }
    double variance() const { return squares / count; }
};

/// Of all numbers of a head.
inline Moments moments_of_head(const Heads<const float>& x, std::int64_t head) {
    Moments all;
    const SumScores sum = sum_scores();
    for (std::int64_t t = 0; t < x.tokens; ++t) {
        const ScoreSums s = sum(x.row(head, t), x.dim);
        all.add(static_cast<double>(x.dim), double{s.mean}, double{s.squares});
    }
    return all;
}

struct HeadConcentration {
    double mean_entropy = 0, q_deviation = 0, k_deviation = 0;
    Moments scores, logs;
};

inline std::vector<HeadConcentration> concentration_of_heads(const ConcentrationInputs& x, bool causal,
                                                             const std::vector<ScoreSums>& rows, Context& context) {
    std::vector<HeadConcentration> heads(static_cast<std::size_t>(x.q.heads));
    context.executor().parallel_for(x.q.heads, [&](std::int64_t h, int) {
        HeadConcentration& to = heads[static_cast<std::size_t>(h)];
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const ScoreSums& row = rows[static_cast<std::size_t>(h * x.q.tokens + i)];
            const auto seen = static_cast<double>(causal ? x.k.tokens - x.q.tokens + i + 1 : x.k.tokens);
            to.mean_entropy += double{row.entropy} / static_cast<double>(x.q.tokens);
            to.scores.add(seen, double{row.mean}, double{row.squares});
            to.logs.add(seen, double{row.mean} - double{row.lse}, double{row.squares});
        }
        to.q_deviation = std::sqrt(moments_of_head(x.q, h).variance());
        to.k_deviation = std::sqrt(moments_of_head(x.k, h / (x.q.heads / x.k.heads)).variance());
    });
    return heads;
}

inline void check_temperatures(const Check& check, const std::vector<HeadConcentration>& heads,
                               const ConcentrationOutputs& out) {
    for (std::size_t h = 0; h < heads.size(); ++h) {
        const HeadConcentration& head = heads[h];
        if (out.temperature && head.scores.variance() == 0)
            check.refuse("temperature is wanted, the scores of head " + std::to_string(h) + " have no variance");
        if (out.gaussian_temperature && head.q_deviation * head.k_deviation == 0)
            check.refuse("gaussian_temperature is wanted, q or k of head " + std::to_string(h) + " has no variance");
    }
}

}  // namespace detail

ATTENTA_INLINE void concentration(const ConcentrationInputs& x, const ConcentrationOutputs& out,
                                  const ConcentrationOptions& options, Context& context) {
    Check check("concentration", x);
    const float scale = check_scores(check, x.q, x.k, options.causal, options.scale);
    if (scale == 0.f) check.refuse("scale is 0, needs another number");
    check.outputs(out, x, options);

    std::vector<ScoreSums> rows(static_cast<std::size_t>(x.q.heads * x.q.tokens));
    const SumScores sum = sum_scores();
    for_score_rows(x.q, x.k, scale, options.causal, context,
                   [&](std::int64_t h, std::int64_t i, float* scores, std::int64_t count) {
                       rows[static_cast<std::size_t>(h * x.q.tokens + i)] = sum(scores, count);
                   });
    const auto heads = detail::concentration_of_heads(x, options.causal, rows, context);
    detail::check_temperatures(check, heads, out);

    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (out.entropy) out.entropy[i] = rows[i].entropy;
        if (out.lse) out.lse[i] = rows[i].lse;
    }
    const auto give = [&](float* to, auto&& of_head) {
        if (to)
            std::transform(heads.begin(), heads.end(), to,
                           [&](const auto& h) { return static_cast<float>(of_head(h)); });
    };
    using Head = detail::HeadConcentration;
    const double root = double{scale} * std::sqrt(static_cast<double>(x.q.dim));
    give(out.mean_entropy, [](const Head& h) { return h.mean_entropy; });
    give(out.log_mean, [](const Head& h) { return h.logs.mean; });
    give(out.log_variance, [](const Head& h) { return h.logs.variance(); });
    give(out.score_variance, [](const Head& h) { return h.scores.variance(); });
    give(out.temperature, [](const Head& h) { return 1 / std::sqrt(h.scores.variance()); });
    give(out.gaussian_temperature, [root](const Head& h) { return 1 / (root * h.q_deviation * h.k_deviation); });
}

}  // namespace analysis

ATTENTA_END
