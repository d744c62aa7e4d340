#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/head_shares.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

namespace eviction {

ATTENTA_INLINE std::vector<std::int64_t> head_shares(const char* policy, std::span<const std::span<const float>> scores,
                                                     std::int64_t n, std::int64_t least) {
    struct Token {
        float score;
        std::int32_t rank, head;
    };
    const auto better = [](const Token& a, const Token& b) {
        if (a.score != b.score) return a.score > b.score;
        return a.rank != b.rank ? a.rank > b.rank : a.head > b.head;
    };
    std::vector<Token> others;  // than the `least` best of each head
    std::vector<std::int64_t> shares;
    for (std::size_t g = 0; g < scores.size(); ++g) {
        const std::int64_t sure = std::clamp<std::int64_t>(least, 0, std::ssize(scores[g]));
        const auto first = std::ssize(others);
        for (std::size_t i = 0; i < scores[g].size(); ++i) {
            if (is_nan(scores[g][i]))
                fail(policy, "the score of token " + std::to_string(i) + " of head " + std::to_string(g) +
                                 " is NaN, needs a number");
            others.push_back({scores[g][i], static_cast<std::int32_t>(i), static_cast<std::int32_t>(g)});
        }
        const auto own = others.begin() + first;
        std::nth_element(own, own + sure, others.end(), better);
        others.erase(own, own + sure);
        shares.push_back(sure);
        n -= sure;
    }
    n = std::clamp<std::int64_t>(n, 0, std::ssize(others));
    std::nth_element(others.begin(), others.begin() + n, others.end(), better);
    for (std::int64_t i = 0; i < n; ++i) ++shares[static_cast<std::size_t>(others[static_cast<std::size_t>(i)].head)];
    return shares;
}

}  // namespace eviction

ATTENTA_END
