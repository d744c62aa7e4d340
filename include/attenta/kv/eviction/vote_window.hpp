// Votes of the last queries on held tokens: is a token's weight below, or at least, what it would be if all were the same?
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

/// How many tokens a query's uniform share 1/n is of: those seen, or those that it attended to.
enum class UniformShare : std::uint8_t { seen, kept };
constexpr auto names_of(UniformShare) { return std::to_array<std::string_view>({"seen", "kept"}); }

namespace eviction {

/// count[j] = votes Vote()(A_h[i, j], u(i)) of the last `window` queries i >= j in all query heads h of the group. A vote is
/// a bit: those of a query head are in window/8 byte columns, query i at bit i mod window. Time O(n) per step.
template <class Vote>
class VoteWindow {
public:
    VoteWindow(std::int64_t window, UniformShare uniform)
        : window_(std::min<std::int64_t>(window, std::numeric_limits<std::int32_t>::max())), uniform_(uniform) {}

    /// Of the policy's columns the first, and all byte columns.
    EvictionNeeds needs(const EvictionShape& shape) const {
        return {.columns = 1, .byte_columns = shape.group() * bytes(), .weights = true};
    }

    /// Of the prompt's queries, later of the newest one.
    void add(const EvictionMoment& now, std::span<const HeldTokens> heads) const {
        const std::int64_t group = now.shape.group();
        if (now.prompt) {
            const std::int64_t count = std::min(window_, now.seen);
            now.attention->rows(now.seen - count, count,
                                [&](std::int64_t head, std::int64_t query, std::span<const float> weights) {
                                    const HeldTokens& held = heads[static_cast<std::size_t>(head / group)];
                                    add(held, head % group, query, weights.data(), query + 1, query + 1);
                                });
            return;
        }
        for (const HeldTokens& held : heads)
            for (std::int64_t h = 0; h < group; ++h)
                add(held, h, now.seen - 1, now.newest(held.head * group + h), held.size(),
                    uniform_ == UniformShare::seen ? now.seen : held.size());
    }

    /// [held.size()] by slot.
    const float* count(const HeldTokens& held) const { return held.column(0); }

private:
    std::int64_t bytes() const { return (window_ + 7) / 8; }
    /// Of the tokens in the first n slots: the others are newer than the query.
    void add(const HeldTokens& held, std::int64_t head, std::int64_t query, const float* weights, std::int64_t n,
             std::int64_t tokens) const {
        const std::int64_t place = query % window_;
        const float share = 1.f / static_cast<float>(tokens);
        std::uint8_t* const bits = held.byte_column(head * bytes() + place / 8);
        float* const count = held.column(0);
        const auto bit = static_cast<int>(place % 8);
        for (std::int64_t i = 0; i < n; ++i) {
            const int before = (bits[i] >> bit) & 1, vote = Vote()(weights[i], share) ? 1 : 0;
            bits[i] = static_cast<std::uint8_t>(bits[i] ^ ((before ^ vote) << bit));
            count[i] += static_cast<float>(vote - before);
        }
    }

    std::int64_t window_;
    UniformShare uniform_;
};

}  // namespace eviction

ATTENTA_END
