#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/window_scores.hpp>
#include <attenta/kv/policies/retrieval_heads.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// The q quantile of x, 0 < q < 1, by linear interpolation between the two scores beside it.
inline double quantile(std::vector<float> x, double q) {
    std::sort(x.begin(), x.end());
    const double at = q * static_cast<double>(x.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const double low = x[below], high = x[std::min(below + 1, x.size() - 1)];
    return low + (high - low) * (at - static_cast<double>(below));
}

}  // namespace detail

ATTENTA_INLINE std::vector<bool> full_heads(std::span<const float> head_score, const EvictionShape& shape,
                                            const RetrievalHeadsOptions& options) {
    const char* const f = "retrieval_heads";
    const auto heads = static_cast<std::size_t>(shape.kv_heads);
    if (std::ssize(head_score) != shape.kv_heads && std::ssize(head_score) != shape.query_heads)
        fail(f, "head_score has " + std::to_string(head_score.size()) + " numbers, needs one for each of the " +
                    std::to_string(heads) + " K/V heads or the " + std::to_string(shape.query_heads) + " query heads");
    if (!std::all_of(head_score.begin(), head_score.end(), is_finite))
        fail(f, "head_score has NaN or infinity, needs finite numbers");
    if (!is_finite(options.threshold))
        fail(f, "threshold is " + std::to_string(options.threshold) + ", needs a finite number");
    if (options.sparsity && !std::isfinite(*options.sparsity))
        fail(f, "sparsity is " + std::to_string(*options.sparsity) + ", needs a finite number");
    const auto group = head_score.size() / heads;
    std::vector<float> best;
    for (std::size_t g = 0; g < heads; ++g)
        best.push_back(*std::max_element(head_score.begin() + static_cast<std::ptrdiff_t>(g * group),
                                         head_score.begin() + static_cast<std::ptrdiff_t>((g + 1) * group)));
    if (options.sparsity && (*options.sparsity >= 1 || *options.sparsity <= 0))
        return std::vector<bool>(heads, *options.sparsity <= 0);
    const double least = options.sparsity ? detail::quantile(best, *options.sparsity) : double{options.threshold};
    std::vector<bool> full;
    for (const float score : best) full.push_back(double{score} >= least);
    return full;
}

ATTENTA_INLINE EvictionNeeds RetrievalHeads::needs(const EvictionShape& shape) {
    const char* const f = "retrieval_heads";
    eviction::require_at_least(f, "sink", options_.sink, 0);
    eviction::require_at_least(f, "recent", options_.recent, 0);
    if (!(CheckedInt(options_.sink) + options_.recent).valid())
        fail(f, "sink is " + std::to_string(options_.sink) + " and recent " + std::to_string(options_.recent) +
                    ", needs a sum that 64 bits can count");
    full_ = full_heads(head_score_, shape, options_);
    return {};
}

ATTENTA_END
