#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/policies/caote.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds Caote::needs(const EvictionShape& shape) {
    EvictionNeeds needs{.weights = options_.base != CaoteBase::snapkv};
    if (options_.base == CaoteBase::snapkv) {
        eviction::check_window("caote", {.window = options_.window, .kernel = options_.kernel}, options_.budget);
        needs.window = options_.window;
    } else {
        eviction::check_budget("caote", options_.budget, "recent", protects());
    }
    group_ = shape.group();
    dim_v_ = shape.dim_v;
    score_column_ = options_.base == CaoteBase::h2o ? mass_.columns(shape) : 0;
    needs.columns = score_column_ + 1;
    return needs;
}

ATTENTA_INLINE void Caote::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                 std::span<EvictionChoice> choices) {
    if (eviction::most_held(heads) <= options_.budget) return;
    if (options_.base == CaoteBase::tova) newest_.update(now);
    if (options_.base == CaoteBase::snapkv) window_.update(now, heads);
    for (const HeldTokens& held : heads) {
        load(now, held);
        float* const scores = held.column(score_column_);
        if (options_.multi == CaoteMulti::greedy)
            choose_one_by_one(held, scores);
        else
            errors(scores);
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores, .keep = options_.budget, .recent = protects()};
    }
}

/// Weights and values of a head's tokens.
ATTENTA_INLINE void Caote::load(const EvictionMoment& now, const HeldTokens& held) {
    const std::int64_t n = held.size();
    weights_.resize(static_cast<std::size_t>(group_ * n));
    values_.resize(static_cast<std::size_t>(n * dim_v_));
    distances_.resize(static_cast<std::size_t>(n));
    stays_.assign(static_cast<std::size_t>(n), 1.f);
    for (std::int64_t i = 0; i < n; ++i) held.load_value(i, values_.data() + i * dim_v_);
    for (std::int64_t h = 0; h < group_; ++h) {
        const std::int64_t head = held.head * group_ + h;
        const float* const from = options_.base == CaoteBase::h2o    ? mass_.of_head(held, h)
                                  : options_.base == CaoteBase::tova ? newest_.of(head)
                                                                     : window_.mean(head);
        float* const to = weights_.data() + h * n;
        std::copy_n(from, n, to);
        if (options_.base == CaoteBase::snapkv) pool_before_window(held, std::min(options_.window, now.seen), to);
    }
}

ATTENTA_INLINE void Caote::pool_before_window(const HeldTokens& held, std::int64_t window, float* weights) {
    const auto before = held.slots.first(static_cast<std::size_t>(std::max<std::int64_t>(0, held.size() - window)));
    ordered_.resize(before.size());
    std::transform(before.begin(), before.end(), ordered_.begin(), [&](std::int32_t slot) { return weights[slot]; });
    eviction::pool(ordered_, options_.kernel, options_.pooling, pooled_);
    for (std::size_t rank = 0; rank < before.size(); ++rank) weights[before[rank]] = pooled_[rank];
}

ATTENTA_INLINE void Caote::add_value(std::int64_t slot, float weight) {
    const float* const value = values_.data() + slot * dim_v_;
    for (std::size_t c = 0; c < sum_.size(); ++c) sum_[c] += weight * value[c];
}

/// How far the values of `count` slots are from sum_ / weight.
ATTENTA_INLINE void Caote::measure(double weight, std::int64_t first, std::int64_t count) {
    centre_.resize(sum_.size());
    std::transform(sum_.begin(), sum_.end(), centre_.begin(), [&](float x) { return static_cast<float>(x / weight); });
    eviction::eviction_kernels().squared_distances(centre_.data(), values_.data() + first * dim_v_, count, dim_v_,
                                                   distances_.data() + first);
    const auto begin = distances_.begin() + first;
    std::transform(begin, begin + count, begin, [](float x) { return std::sqrt(x); });
}

/// Σ over the query heads of e_j, which has the order of their mean. A head's heaviest token may have almost all of its
/// weight: with Y and r, the sums of the others' weighted values and weights, its error is α · ‖Y/r − v‖ (or α/r · ‖X − v‖
/// with `fast`), so that no difference of nearly equal numbers is taken.
ATTENTA_INLINE void Caote::errors(float* to) {
    constexpr float most = std::numeric_limits<float>::max();  // an infinity would protect the token
    const std::int64_t n = std::ssize(stays_);
    const float* const distances = distances_.data();
    const auto clear_sum = [&] { sum_.assign(static_cast<std::size_t>(dim_v_), 0.f); };
    if (options_.fast) {
        clear_sum();
        for (std::int64_t i = 0; i < n; ++i) add_value(i, stays_[static_cast<std::size_t>(i)]);
        measure(std::accumulate(stays_.begin(), stays_.end(), 0.), 0, n);
    }
    std::fill_n(to, n, 0.f);
    for (std::int64_t h = 0; h < group_; ++h) {
        const float* const weights = weights_.data() + h * n;
        const std::int64_t top = std::max_element(weights, weights + n) - weights;
        const double rest = std::accumulate(weights, weights + top, 0.) +
                            std::accumulate(weights + top + 1, weights + n, 0.),
                     all = rest + weights[top];
        if (all <= 0) continue;  // the head has looked at none of these tokens
        double error = most;
        if (options_.fast) {
            if (rest > 0) error = weights[top] / rest * distances[top];
        } else {
            clear_sum();
            for (std::int64_t i = 0; i < n; ++i)
                if (i != top) add_value(i, weights[i]);
            if (rest > 0) {
                measure(rest, top, 1);
                error = weights[top] / all * distances[top];
            }
            add_value(top, weights[top]);
            measure(all, 0, n);
        }
        for (std::int64_t i = 0; i < n; ++i)
            to[i] += static_cast<float>(i == top ? std::min<double>(error, most)
                                                 : weights[i] / (all - weights[i]) * distances[i]);
    }
    for (std::int64_t i = 0; i < n; ++i) to[i] = std::min(to[i], most);
}

/// scores: 0 of the tokens that go, 1 of those that stay.
ATTENTA_INLINE void Caote::choose_one_by_one(const HeldTokens& held, float* scores) {
    const std::int64_t n = held.size(), recent = held.newest(protects());
    for (std::int64_t left = n; left > options_.budget; --left) {
        errors(scores);
        for (std::int64_t i = 0; i < n; ++i)
            if (stays_[static_cast<std::size_t>(i)] == 0) scores[i] = std::numeric_limits<float>::infinity();
        const std::int64_t slot = eviction::eviction_kernels().lowest(scores, held.positions.data(), n, 0, recent);
        if (slot < 0) return;  // scores are NaN, which the evictor refuses
        stays_[static_cast<std::size_t>(slot)] = 0;
        for (std::int64_t h = 0; h < group_; ++h) weights_[static_cast<std::size_t>(h * n + slot)] = 0;
    }
    std::copy(stays_.begin(), stays_.end(), scores);
}

ATTENTA_END
