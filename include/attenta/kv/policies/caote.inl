#pragma once

#include <attenta/kv/eviction/fixed_scores.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/lower_bounds.hpp>
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
    length_column_ = score_column_ + 1;
    needs.columns = length_column_ + 1;
    needs.rows = needs.weights;
    if (options_.base == CaoteBase::h2o) sums_.resize(static_cast<std::size_t>(shape.query_heads));
    value_.resize(static_cast<std::size_t>(dim_v_));
    centres_.resize(static_cast<std::size_t>(group_ * dim_v_));
    return needs;
}

ATTENTA_INLINE void Caote::arrive(const HeldTokens& held, std::int64_t slot, const float*, const float*) {
    held.load_value(slot, value_.data());
    held.column(length_column_)[slot] = eviction::norm(value_.data(), dim_v_);
}

/// A step adds its weights, whose sum is 1, and its output.
ATTENTA_INLINE void Caote::observe(const EvictionMoment& now, std::span<const HeldTokens> heads) {
    if (options_.base != CaoteBase::h2o) return;
    mass_.add(now, heads);
    for (std::size_t h = 0; h < sums_.size(); ++h) {
        Sums& s = sums_[h];
        s.known = s.known && !now.prompt;
        if (s.known) s.add(1, now.o.row(static_cast<std::int64_t>(h), 0));
    }
}

ATTENTA_INLINE void Caote::leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache&) {
    for (std::int64_t h = 0; options_.base == CaoteBase::h2o && h < group_; ++h) {
        Sums& s = sums_[static_cast<std::size_t>(held.head * group_ + h)];
        for (const std::int32_t slot : gone) {
            if (!s.known) break;
            held.load_value(slot, value_.data());
            s.add(-double{mass_.of_head(held, h)[slot]}, value_.data());
        }
    }
}

/// The base policy's, by slot, of a query head of the group.
ATTENTA_INLINE const float* Caote::weights_of(const HeldTokens& held, std::int64_t h) const {
    const std::int64_t head = held.head * group_ + h;
    return options_.base == CaoteBase::h2o    ? mass_.of_head(held, h)
           : options_.base == CaoteBase::tova ? newest_.of(head)
                                              : window_.mean(head);
}

ATTENTA_INLINE void Caote::sum_up(const HeldTokens& held, std::int64_t h) {
    Sums& s = sums_[static_cast<std::size_t>(held.head * group_ + h)];
    const float* const weights = mass_.of_head(held, h);
    s = {.known = true, .weight = 0, .value = std::vector<double>(static_cast<std::size_t>(dim_v_))};
    for (std::int64_t i = 0; i < held.size(); ++i) {
        held.load_value(i, value_.data());
        s.add(double{weights[i]}, value_.data());
    }
}

/// Scores for a step that has one token too many: errors of those tokens that may have the least one, of the others something
/// below theirs and above the least. Returns false where the head's tokens have to be compared one by one.
ATTENTA_INLINE bool Caote::score_the_least(const EvictionMoment& now, const HeldTokens& held, float* scores) {
    constexpr double most_of_all = 0.99;  // X of what is left is no difference of nearly equal numbers then
    const std::int64_t n = held.size();
    if (options_.base == CaoteBase::snapkv || options_.multi == CaoteMulti::greedy || options_.fast || now.prompt ||
        now.every_score || n != options_.budget + 1)
        return false;
    const auto& kernels = eviction::eviction_kernels();
    totals_.assign(static_cast<std::size_t>(group_), 0.);
    std::fill_n(scores, n, 0.f);
    for (std::int64_t h = 0; h < group_; ++h) {
        const std::int64_t head = held.head * group_ + h;
        float* const x = centres_.data() + h * dim_v_;
        double& total = totals_[static_cast<std::size_t>(h)] = 1;
        if (options_.base == CaoteBase::tova) {
            std::copy_n(now.o.row(head, 0), dim_v_, x);
        } else {
            if (!sums_[static_cast<std::size_t>(head)].known) sum_up(held, h);
            const Sums& s = sums_[static_cast<std::size_t>(head)];
            total = s.weight;
            std::transform(s.value.begin(), s.value.end(), x,
                           [&](double value) { return static_cast<float>(value / total); });
        }
        if (!(total > 0)) return false;
        const float top = kernels.add_least_errors(weights_of(held, h), static_cast<float>(total),
                                                   eviction::norm(x, dim_v_), held.column(length_column_), n, scores);
        if (!(double{top} < most_of_all * total)) return false;
    }
    const auto error = [&](std::int64_t slot) {
        held.load_value(slot, value_.data());
        double sum = 0;
        for (std::int64_t h = 0; h < group_; ++h) {
            float squares = 0;
            kernels.squared_distances(value_.data(), centres_.data() + h * dim_v_, 1, dim_v_, &squares);
            const double weight = weights_of(held, h)[slot];
            sum += weight / (totals_[static_cast<std::size_t>(h)] - weight) * double{std::sqrt(squares)};
        }
        return static_cast<float>(sum);
    };
    return eviction::evaluate_lowest(held, held.newest(protects()), scores, error);
}

ATTENTA_INLINE void Caote::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                 std::span<EvictionChoice> choices) {
    if (eviction::most_held(heads) <= options_.budget) return;
    if (options_.base == CaoteBase::tova) newest_.update(now);
    if (options_.base == CaoteBase::snapkv) window_.update(now, heads);
    for (const HeldTokens& held : heads) {
        float* const scores = held.column(score_column_);
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores, .keep = options_.budget, .recent = protects()};
        if (score_the_least(now, held, scores)) continue;
        load(now, held);
        if (options_.multi == CaoteMulti::greedy)
            choose_one_by_one(held, scores);
        else
            errors(scores);
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
        float* const to = weights_.data() + h * n;
        std::copy_n(weights_of(held, h), n, to);
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
