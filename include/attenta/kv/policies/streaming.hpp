// StreamingLLM keeps the first tokens and the newest ones. Xiao et al. 2024, "Efficient Streaming Language Models with
// Attention Sinks", section 3.2.
//
// Nothing is kept, nothing is computed.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

ATTENTA_BEGIN

struct StreamingOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    std::int64_t sink = 4;       ///< of them the first ones

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("sink", o.sink, "of them the first ones");
    }
};

class Streaming final : public EvictionPolicy {
public:
    using Options = StreamingOptions;
    explicit Streaming(const StreamingOptions& options = {}) : options_(options) {}

    EvictionNeeds needs(const EvictionShape&) override {
        eviction::check_budget("streaming", options_.budget, "sink", options_.sink);
        return {};
    }
    void judge(const EvictionMoment&, std::span<const HeldTokens>, std::span<EvictionChoice> choices) override {
        for (EvictionChoice& c : choices) c = {.keep = options_.budget, .sink = options_.sink};
    }

private:
    StreamingOptions options_;
};

ATTENTA_END
