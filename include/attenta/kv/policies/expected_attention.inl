#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/policies/expected_attention.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// a [n, n] = L Lᵀ, of which the lower triangle is read and becomes L. A direction in which `a` has nothing gives a column of
/// zeros: covariances of few queries have many.
inline void cholesky(std::vector<double>& a, std::size_t n) {
    double most = 0;
    for (std::size_t r = 0; r < n; ++r) most = std::max(most, a[r * n + r]);
    for (std::size_t c = 0; c < n; ++c) {
        double* const pivot_row = a.data() + c * n;
        for (std::size_t r = c; r < n; ++r)
            for (std::size_t i = 0; i < c; ++i) a[r * n + c] -= a[r * n + i] * pivot_row[i];
        const double pivot = pivot_row[c], factor = pivot > 1e-13 * most ? 1 / std::sqrt(pivot) : 0;
        for (std::size_t r = c; r < n; ++r) a[r * n + c] *= factor;
    }
}

}  // namespace detail

ATTENTA_INLINE void ExpectedAttention::check(const EvictionShape& shape) const {
    const char* const f = "expected_attention";
    const auto number = [](std::int64_t n) { return std::to_string(n); };
    eviction::check_budget(f, options_.budget, "sink", options_.sink);
    eviction::require_at_least(f, "future", options_.future, 1);
    if (!is_finite(options_.epsilon))
        fail(f, "epsilon is " + std::to_string(options_.epsilon) + ", needs a finite number");
    if (!is_finite(options_.rope_base) || options_.rope_base <= 0)
        fail(f, "rope_base is " + std::to_string(options_.rope_base) + ", needs a finite number above 0");
    if (shape.dim % 2 != 0) fail(f, "keys have " + number(shape.dim) + " features, needs an even number");
    if (q_pre_.heads != shape.query_heads || q_pre_.dim != shape.dim || q_pre_.tokens <= options_.sink || !q_pre_.data)
        fail(f, "q_pre is [" + number(q_pre_.heads) + ", " + number(q_pre_.tokens) + ", " + number(q_pre_.dim) +
                    "], needs [" + number(shape.query_heads) + ", more than the sink of " + number(options_.sink) +
                    ", " + number(shape.dim) + "]");
    for (std::int64_t h = 0; h < q_pre_.heads; ++h)
        for (std::int64_t t = 0; t < q_pre_.tokens; ++t)
            if (!std::all_of(q_pre_.row(h, t), q_pre_.row(h, t) + q_pre_.dim, is_finite))
                fail(f, "q_pre has NaN or infinity at token " + number(t) + " of head " + number(h) +
                            ", needs finite numbers");
}

ATTENTA_INLINE EvictionNeeds ExpectedAttention::needs(const EvictionShape& shape) {
    check(shape);
    dim_v_ = shape.dim_v;
    rows_ = options_.covariance ? shape.dim + 1 : 1;
    rotary_ = eviction::Rotary(shape.dim, options_.rope_base);
    statistics_.resize(static_cast<std::size_t>(shape.query_heads * rows_ * shape.dim));
    turned_.resize(statistics_.size());
    for (std::int64_t h = 0; h < shape.query_heads; ++h) take_statistics(h, statistics_.data() + h * rows_ * shape.dim);
    return {.columns = 1, .rows = true};
}

/// rows [rows_, D]: μ/√D, and the columns of the Cholesky factor of Σ/(2D).
ATTENTA_INLINE void ExpectedAttention::take_statistics(std::int64_t head, float* rows) const {
    const auto D = static_cast<std::size_t>(q_pre_.dim);
    const std::int64_t first = options_.sink, end = q_pre_.tokens;
    const auto count = static_cast<double>(end - first), dim = static_cast<double>(D);
    std::vector<double> mean(D), covariance(D * D), apart(D);
    for (std::int64_t t = first; t < end; ++t)
        for (std::size_t c = 0; c < D; ++c) mean[c] += double{q_pre_.row(head, t)[c]} / count;
    for (std::size_t c = 0; c < D; ++c) rows[c] = static_cast<float>(mean[c] / std::sqrt(dim));
    if (!options_.covariance) return;
    for (std::int64_t t = first; t < end; ++t) {
        for (std::size_t c = 0; c < D; ++c) apart[c] = double{q_pre_.row(head, t)[c]} - mean[c];
        for (std::size_t a = 0; a < D; ++a)
            for (std::size_t b = 0; b <= a; ++b) covariance[a * D + b] += apart[a] * apart[b] / (2 * dim * count);
    }
    detail::cholesky(covariance, D);
    for (std::size_t r = 0; r < D; ++r)
        for (std::size_t c = r; c < D; ++c) rows[(1 + r) * D + c] = static_cast<float>(covariance[c * D + r]);
}

/// x_j of all query heads.
ATTENTA_INLINE void ExpectedAttention::expect_queries(const EvictionMoment& now, std::int64_t keys) {
    const std::int64_t D = now.shape.dim, heads = now.shape.query_heads;
    rotary_.set(now.seen, options_.future);
    for (std::int64_t r = 0; r < heads * rows_; ++r) rotary_.turn(statistics_.data() + r * D, turned_.data() + r * D);
    x_.resize(static_cast<std::size_t>(heads * keys));
    now.attention->products(hnd<const float>(turned_.data(), heads, rows_, D),
                            [&](std::int64_t head, std::int64_t row, std::span<const float> products) {
                                float* const x = x_.data() + head * keys;
                                if (row == 0) {
                                    std::copy(products.begin(), products.end(), x);
                                } else {
                                    for (std::size_t i = 0; i < products.size(); ++i) x[i] += products[i] * products[i];
                                }
                            });
}

/// scores += share · softmax(x) over the held tokens behind the sink.
ATTENTA_INLINE void ExpectedAttention::add_softmax(const HeldTokens& held, const float* x, float share,
                                                   float* scores) const {
    const auto behind_sink = [&](std::size_t i) { return held.positions[i] >= options_.sink; };
    float most = -std::numeric_limits<float>::infinity();
    double sum = 0;
    for (std::size_t i = 0; i < held.positions.size(); ++i)
        if (behind_sink(i)) most = std::max(most, x[i]);
    for (std::size_t i = 0; i < held.positions.size(); ++i)
        if (behind_sink(i)) sum += std::exp(x[i] - most);
    const float factor = static_cast<float>(double{share} / sum);
    for (std::size_t i = 0; i < held.positions.size(); ++i)
        if (behind_sink(i)) scores[i] += factor * std::exp(x[i] - most);
}

ATTENTA_INLINE void ExpectedAttention::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                             std::span<EvictionChoice> choices) {
    const std::int64_t n = eviction::most_held(heads), group = now.shape.group();
    if (n <= options_.budget) return;
    expect_queries(now, n);
    scores_.assign(static_cast<std::size_t>(now.shape.kv_heads * n), 0.f);
    for (const HeldTokens& held : heads) {
        float* const scores = scores_.data() + held.head * n;
        for (std::int64_t h = held.head * group; h < (held.head + 1) * group; ++h)
            add_softmax(held, x_.data() + h * n, 1.f / static_cast<float>(group), scores);
        if (options_.value_norm) {
            const float* const norms = held.column(0);
            for (std::int64_t i = 0; i < n; ++i) scores[i] = (scores[i] + options_.epsilon) * norms[i];
        }
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores, .keep = options_.budget, .sink = options_.sink};
    }
}

ATTENTA_END
