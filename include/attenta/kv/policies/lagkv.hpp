// LagKV scores tokens without any query: by how unevenly a key and a value lie in the ranges of the tokens that follow.
// Liang et al. 2025, "LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are Important", section 2.
//
//   y_c = (x_c − min_c) / (max_c − min_c)      min, max of channel c over the next block of `lag` tokens
//   s   = softmax over the block of the standard deviation of y over channels
//
// A token's score is its rank in the block by s of keys and of values, added. The first `sink` tokens, the last whole
// block and what is behind it stay; a prompt of fewer than two blocks keeps its first and newest tokens. Nothing is
// evicted in decoding. Time O(P·D) after the prompt; nothing is kept.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <vector>

ATTENTA_BEGIN

struct LagkvOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    std::int64_t lag = 128;      ///< tokens of a block
    std::int64_t sink = 4;       ///< first tokens, which stay

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("lag", o.lag, "tokens of a block");
        visit("sink", o.sink, "first tokens, which stay");
    }
};

class Lagkv final : public EvictionPolicy {
public:
    using Options = LagkvOptions;
    explicit Lagkv(const LagkvOptions& options = {}) : options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    /// Throws Error where a channel is the same throughout a block.
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    LagkvOptions options_;
    std::vector<float> scores_;  ///< [Hkv, P]
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/lagkv.inl>
#endif
