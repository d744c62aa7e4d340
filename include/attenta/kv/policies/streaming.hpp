// StreamingLLM keeps the first tokens and the newest ones. Xiao et al. 2024, "Efficient Streaming Language Models with
// Attention Sinks", section 3.2.
//
// Nothing is kept, nothing is computed.
//
// With `reposition`, the paper's own form, rotary positions count inside the cache: 0, …, n − 1. Keys and queries come rotated
// for their places in the text as ever. The newest tokens hang together, so that their distances to a query are the same in the
// text and in the cache; those of the first tokens are what changes. Token j < sink is turned to position j + (tokens that are
// gone), each time from the key that came, so that no error accumulates. Time O(sink·D) whenever a token goes.
#pragma once

#include <attenta/kv/eviction/rotary.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <vector>

ATTENTA_BEGIN

struct StreamingOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    std::int64_t sink = 4;       ///< of them the first ones
    bool reposition = false;     ///< rotary positions (halves layout) count inside the cache
    float rope_base = 10000;     ///< of their frequencies

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("sink", o.sink, "of them the first ones");
        visit("reposition", o.reposition, "rotary positions count inside the cache");
        visit("rope_base", o.rope_base, "of the rotary frequencies, with reposition");
    }
};

class Streaming final : public EvictionPolicy {
public:
    using Options = StreamingOptions;
    explicit Streaming(const StreamingOptions& options = {}) : options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) override;
    void judge(const EvictionMoment&, std::span<const HeldTokens>, std::span<EvictionChoice> choices) override {
        for (EvictionChoice& c : choices) c = {.keep = options_.budget, .sink = options_.sink};
    }
    void leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) override;

private:
    StreamingOptions options_;
    std::int64_t dim_ = 0, dim_v_ = 0;
    eviction::Rotary rotary_;
    std::vector<float> first_;   ///< with `reposition`: the first tokens as they came, [Hkv, sink, D + Dv]
    std::vector<float> turned_;  ///< a key
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/streaming.inl>
#endif
