#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/lower_bounds.hpp>
#include <attenta/kv/policies/keydiff.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds Keydiff::needs(const EvictionShape& shape) {
    eviction::check_budget("keydiff", options_.budget, "recent", options_.recent);
    shape_ = shape;
    sums_.assign(static_cast<std::size_t>(shape.kv_heads * shape.dim), 0.0);
    key_.resize(static_cast<std::size_t>(shape.dim));
    judged_.clear();
    return {.columns = 2, .rows = true};
}

/// Adds or takes away a held key, as it is stored, so that what came is what goes.
ATTENTA_INLINE void Keydiff::add(const HeldTokens& held, std::int64_t slot, double sign) {
    held.load_key(slot, key_.data());
    const float norm = std::max(eviction::norm(key_.data(), shape_.dim), 1e-12f);
    held.column(0)[slot] = norm;
    double* const sums = sums_.data() + held.head * shape_.dim;
    for (std::int64_t c = 0; c < shape_.dim; ++c)
        sums[c] += sign * double{key_[static_cast<std::size_t>(c)]} / double{norm};
}

/// Nothing is known of its cosine yet.
ATTENTA_INLINE void Keydiff::arrive(const HeldTokens& held, std::int64_t slot, const float*, const float*) {
    add(held, slot, 1);
    held.column(1)[slot] = -std::numeric_limits<float>::infinity();
}

ATTENTA_INLINE void Keydiff::leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache&) {
    for (const std::int32_t slot : gone) add(held, slot, -1);
}

ATTENTA_INLINE void Keydiff::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                   std::span<EvictionChoice> choices) {
    const std::int64_t n = eviction::most_held(heads);
    if (n <= options_.budget) return;
    anchors_.assign(sums_.begin(), sums_.end());
    scores_.resize(static_cast<std::size_t>(shape_.kv_heads * n));
    const bool one_goes = !now.prompt && !now.every_score && !judged_.empty() && n == options_.budget + 1;
    if (!one_goes || !std::all_of(heads.begin(), heads.end(), [&](const HeldTokens& held) {
            return score_the_lowest(held, scores_.data() + held.head * n);
        }))
        score_all(now, heads);
    judged_ = sums_;
    for (const HeldTokens& held : heads)
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores_.data() + held.head * n, .keep = options_.budget, .recent = options_.recent};
}

/// The length of the anchor changes no order, so scores are products with the sum.
ATTENTA_INLINE void Keydiff::score_all(const EvictionMoment& now, std::span<const HeldTokens> heads) {
    const std::int64_t n = eviction::most_held(heads);
    now.attention->products(hnd<const float>(anchors_.data(), shape_.kv_heads, 1, shape_.dim),
                            [&](std::int64_t head, std::int64_t, std::span<const float> products) {
                                const HeldTokens& held = heads[static_cast<std::size_t>(head)];
                                const float* const norms = held.column(0);
                                float* const scores = scores_.data() + head * n;
                                for (std::size_t i = 0; i < products.size(); ++i) scores[i] = -products[i] / norms[i];
                                std::copy_n(scores, products.size(), held.column(1));
                            });
}

/// How far the sum is from where it was.
ATTENTA_INLINE double Keydiff::moved(std::int64_t head) const {
    double squares = 0;
    for (std::int64_t i = head * shape_.dim; i < (head + 1) * shape_.dim; ++i) {
        const double d = sums_[static_cast<std::size_t>(i)] - judged_[static_cast<std::size_t>(i)];
        squares += d * d;
    }
    return std::sqrt(squares);
}

/// Scores of those tokens that may have the lowest one, of the others what theirs is at least. Returns false where these are
/// many.
ATTENTA_INLINE bool Keydiff::score_the_lowest(const HeldTokens& held, float* scores) {
    const std::int64_t n = held.size();
    // Scores have at most the size n; what they and the bounds are rounded by comes to less than this.
    const auto lower = static_cast<float>(moved(held.head) + 1e-6 * static_cast<double>(n));
    float* const bounds = held.column(1);
    for (std::int64_t i = 0; i < n; ++i) scores[i] = bounds[i] -= lower;
    const float* const anchor = anchors_.data() + held.head * shape_.dim;
    const auto score = [&](std::int64_t slot) {
        held.load_key(slot, key_.data());
        float product;
        eviction::eviction_kernels().products(anchor, key_.data(), 1, shape_.dim, &product);
        return bounds[slot] = -product / held.column(0)[slot];
    };
    return eviction::evaluate_lowest(held, held.newest(options_.recent), scores, score,
                                     std::max<std::int64_t>(n / 8, 16));
}

ATTENTA_END
