// Scores that a query has with a table of distances, beside those with keys: one product for all distances, then a run of the
// product along the keys of each tile (edits::DistanceBias).
#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/softmax/common.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Distances, position of the key minus that of the query, that a call's pairs have.
struct Distances {
    std::int64_t first, last;

    std::int64_t count() const { return last - first + 1; }
};
/// Those that the visible pairs of a call may have, of keys at 0 and up.
inline Distances visible_distances(const SoftmaxCall& call, const VisibleKeys& v) {
    const std::int64_t first_query = call.first_position(), last_query = first_query + call.request.q.tokens - 1,
                       last_key = std::max<std::int64_t>(call.end_of_positions() - 1, 0);
    Distances d{-last_query, last_key - first_query};
    if (v.causal && v.prefix == 0) d.last = std::min<std::int64_t>(d.last, 0);
    if (v.window_left >= 0) d.first = std::max(d.first, -v.window_left);
    if (v.window_right >= 0) d.last = std::min(d.last, v.window_right);
    d.last = std::max(d.last, d.first);
    return d;
}

/// Numbers of queries × distances, and the edit that adds them.
class RelativeTerms {
public:
    /// Queries whose terms fit a cache.
    static std::int64_t queries_at_once(std::int64_t heads, std::int64_t distances, std::int64_t queries) {
        const std::int64_t per_query = heads * stride_of(distances) * static_cast<std::int64_t>(sizeof(float));
        return std::clamp(bytes / std::max<std::int64_t>(per_query, 1), std::min<std::int64_t>(least, queries),
                          queries);
    }

    /// alpha · q_i·table[first + d] of all queries and distances, plus `bias` [heads of the table, count] of the rows where
    /// it is given. table [Hr, count, D], whose rows are distances from `first` on.
    void set(const Heads<const float>& q, const Heads<const float>& table, std::int64_t first, float alpha,
             const float* bias, Context& context) {
        first_ = first;
        count_ = table.tokens;
        heads_ = q.heads;
        queries_ = q.tokens;
        const std::int64_t stride = stride_of(count_);
        numbers_.resize(static_cast<std::size_t>(heads_ * queries_ * stride));
        for (std::int64_t h = 0; bias && h < heads_; ++h)
            for (std::int64_t t = 0; t < queries_; ++t)
                std::copy_n(bias + h / (heads_ / table.heads) * count_, count_, row(h, t));
        Matrices<float> to{numbers_.data() + padding, heads_, queries_, count_, stride, queries_ * stride};
        dense::multiply(dense::matrices_of(q), dense::matrices_of(table), to,
                        {.b_transposed = true, .alpha = alpha, .add = bias != nullptr}, context);
        repeat_ends();
    }
    edits::DistanceBias edit() const {
        const std::int64_t stride = stride_of(count_);
        return {numbers_.data() + padding, queries_ * stride, first_, count_, stride};
    }

private:
    static constexpr std::int64_t padding = edits::DistanceBias::padding, bytes = std::int64_t{8} << 20, least = 16;

    static std::int64_t stride_of(std::int64_t count) { return count + 2 * padding; }
    float* row(std::int64_t h, std::int64_t t) {
        return numbers_.data() + (h * queries_ + t) * stride_of(count_) + padding;
    }
    void repeat_ends() {
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t t = 0; t < queries_; ++t) {
                float* const x = row(h, t);
                std::fill_n(x - padding, padding, x[0]);
                std::fill_n(x + count_, padding, x[count_ - 1]);
            }
    }

    std::vector<float> numbers_;  ///< [heads, queries, padding + count + padding]
    std::int64_t first_ = 0, count_ = 0, heads_ = 0, queries_ = 0;
};

/// q + bias of each head, [Hq, n, D].
inline Heads<const float> with_bias(const Heads<const float>& q, const Matrices<const float>& bias,
                                    std::vector<float>& memory) {
    memory.resize(static_cast<std::size_t>(q.heads * q.tokens * q.dim));
    float* to = memory.data();
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t)
            to = std::transform(q.row(h, t), q.row(h, t) + q.dim, bias.data + h * bias.row_stride, to,
                                [](float x, float b) { return x + b; });
    return hnd(static_cast<const float*>(memory.data()), q.heads, q.tokens, q.dim);
}

}  // namespace detail

ATTENTA_END
