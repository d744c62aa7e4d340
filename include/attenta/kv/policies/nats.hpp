// Neural Attention Search: each token says how long it is needed. Deng and Lindauer 2025, "Neural Attention Search".
//
//   0 global    stays
//   1 local     stays until the next global token has been a query
//   2 sliding   is read by the next `window` queries
//
// The decoding form of token_types (attenta/sparse/patterns/token_types.hpp), whose mask is for prompts. Time O(n) per step,
// two floats per token.
#pragma once

#include <attenta/kv/eviction/given.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

struct NatsOptions {
    std::int64_t window = -1;  ///< queries behind a sliding token that read it, at least 0; there is no default
    std::int64_t sink = 1;     ///< first tokens, which are global whatever their type
    float global_bias = 0.1f;  ///< added to the logit of global

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "queries behind a sliding token that read it, at least 0");
        visit("sink", o.sink, "first tokens, which are global");
        visit("global_bias", o.global_bias, "added to the logit of global");
    }
};

/// types [Hkv, T] of types [Hkv, T, 1], those of the first tokens global. Throws Error on types other than 0, 1 and 2.
std::vector<std::int64_t> nats_types(Heads<const std::int64_t> types, const NatsOptions& options);
/// The same of logits [Hkv, T, 3]: the largest, the first of equal ones. Throws Error on logits that are not finite.
std::vector<std::int64_t> nats_types(Heads<const float> logits, const NatsOptions& options);

/// types [Hkv, T, 1] of the T tokens that may come, in order of their positions: borrowed.
class Nats final : public EvictionPolicy {
public:
    using Options = NatsOptions;
    Nats(Heads<const std::int64_t> types, const NatsOptions& options)
        : types_("nats", "types", types), options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void expect(std::int64_t seen) override { types_.expect(seen); }
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    eviction::Given<std::int64_t> types_;
    NatsOptions options_;
    std::vector<std::int64_t> newest_global_;  ///< [Hkv] position, -1 before the first
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/nats.inl>
#endif
