#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/policies/lagkv.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Keys or values of a head in blocks, rows [tokens, dim].
class LagBlocks {
public:
    LagBlocks(const char* name, std::int64_t lag, std::int64_t dim) : name_(name), lag_(lag), dim_(dim) {}

    /// `load`(token, to) gives a row.
    template <class Load>
    void read(std::int64_t tokens, Load&& load) {
        rows_.resize(static_cast<std::size_t>(tokens * dim_));
        for (std::int64_t t = 0; t < tokens; ++t) load(t, row(t));
    }
    /// s += softmax, over the block that begins at `first`, of its tokens' deviations in the ranges of the next block.
    void add_spread(std::int64_t first, std::vector<double>& s) {
        find_ranges(first + lag_);
        deviation_.resize(s.size());
        for (std::int64_t t = 0; t < lag_; ++t) deviation_[static_cast<std::size_t>(t)] = deviation(row(first + t));
        const double most = *std::max_element(deviation_.begin(), deviation_.end());
        double sum = 0;
        for (double& d : deviation_) sum += d = std::exp(d - most);
        if (!is_finite(static_cast<float>(sum)))
            fail("lagkv", std::string(name_) + "s of tokens " + std::to_string(first) + " to " +
                              std::to_string(first + 2 * lag_ - 1) + " are not finite, need finite numbers");
        for (std::size_t t = 0; t < s.size(); ++t) s[t] += deviation_[t] / sum;
    }

private:
    float* row(std::int64_t token) { return rows_.data() + token * dim_; }
    void find_ranges(std::int64_t first) {
        low_.assign(row(first), row(first + 1));
        high_ = low_;
        for (std::int64_t t = first + 1; t < first + lag_; ++t)
            for (std::size_t c = 0; c < low_.size(); ++c) {
                low_[c] = std::min(low_[c], row(t)[c]);
                high_[c] = std::max(high_[c], row(t)[c]);
            }
        for (std::size_t c = 0; c < low_.size(); ++c)
            if (low_[c] == high_[c])
                fail("lagkv", "channel " + std::to_string(c) + " of all " + name_ + "s of tokens " +
                                  std::to_string(first) + " to " + std::to_string(first + lag_ - 1) + " is " +
                                  std::to_string(low_[c]) + ", needs different numbers");
    }
    /// Standard deviation over channels, denominator dim − 1.
    double deviation(const float* x) {
        in_range_.resize(low_.size());
        for (std::size_t c = 0; c < low_.size(); ++c)
            in_range_[c] = (double{x[c]} - double{low_[c]}) / (double{high_[c]} - double{low_[c]});
        const auto n = static_cast<double>(dim_);
        const double mean = std::accumulate(in_range_.begin(), in_range_.end(), 0.) / n;
        double sum = 0;
        for (const double y : in_range_) sum += (y - mean) * (y - mean);
        return std::sqrt(sum / (n - 1));
    }

    const char* name_;
    std::int64_t lag_, dim_;
    std::vector<float> rows_, low_, high_;
    std::vector<double> in_range_, deviation_;
};

}  // namespace detail

ATTENTA_INLINE EvictionNeeds Lagkv::needs(const EvictionShape& shape) {
    eviction::check_budget("lagkv", options_.budget, "sink", options_.sink);
    eviction::require_at_least("lagkv", "lag", options_.lag, 1);
    eviction::require_at_least("lagkv", "the width of keys", shape.dim, 2);
    eviction::require_at_least("lagkv", "the width of values", shape.dim_v, 2);
    return {};
}

ATTENTA_INLINE void Lagkv::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                 std::span<EvictionChoice> choices) {
    const std::int64_t P = now.seen, lag = options_.lag, sink = options_.sink, blocks = (P - sink) / lag;
    if (!now.prompt || P <= options_.budget) return;
    if (blocks < 2) {
        std::fill(choices.begin(), choices.end(), EvictionChoice{.keep = options_.budget, .sink = sink});
        return;
    }
    const std::int64_t judged = (blocks - 1) * lag, recent = P - sink - judged;
    if (sink + recent > options_.budget)
        fail("lagkv", "budget is " + std::to_string(options_.budget) + ", needs at least " +
                          std::to_string(sink + recent) + ": the sinks and the tokens from the last whole block on");
    scores_.assign(heads.size() * static_cast<std::size_t>(P), 0.f);
    detail::LagBlocks keys("key", lag, now.shape.dim), values("value", lag, now.shape.dim_v);
    std::vector<double> spread(static_cast<std::size_t>(lag));
    std::vector<std::int64_t> order(spread.size());
    for (const HeldTokens& held : heads) {
        float* const scores = scores_.data() + held.head * P;  // after the prompt slots are positions
        keys.read(P, [&](std::int64_t t, float* to) { held.load_key(t, to); });
        values.read(P, [&](std::int64_t t, float* to) { held.load_value(t, to); });
        for (std::int64_t first = sink; first < sink + judged; first += lag) {
            std::fill(spread.begin(), spread.end(), 0.);
            keys.add_spread(first, spread);
            values.add_spread(first, spread);
            std::iota(order.begin(), order.end(), std::int64_t{0});
            std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
                return spread[static_cast<std::size_t>(a)] < spread[static_cast<std::size_t>(b)];
            });
            for (std::size_t rank = 0; rank < order.size(); ++rank)
                scores[first + order[rank]] = static_cast<float>(rank) / static_cast<float>(lag);
        }
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores, .keep = options_.budget, .sink = sink, .recent = recent};
    }
}

ATTENTA_END
