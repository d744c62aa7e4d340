// The baseline: tokens that the caller has drawn stay.
//
//   score = rand, a number per token and K/V head
//
// One float per token.
#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/fixed_scores.hpp>
#include <attenta/kv/eviction/given.hpp>

ATTENTA_BEGIN

struct RandomEvictionOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head

    static void fields(auto&& visit, auto& o) { visit("budget", o.budget, "tokens kept per K/V head"); }
};

/// rand [Hkv, T, 1] for the T tokens that may come, in order of their positions: borrowed, all finite.
class RandomEviction final : public eviction::FixedScores {
public:
    using Options = RandomEvictionOptions;
    RandomEviction(Heads<const float> rand, const RandomEvictionOptions& options)
        : FixedScores("random_eviction", {.budget = options.budget}), rand_("random_eviction", "rand", rand) {}

    EvictionNeeds needs(const EvictionShape& shape) override {
        rand_.check(shape, "a finite number", is_finite);
        return FixedScores::needs(shape);
    }
    void expect(std::int64_t seen) override { rand_.expect(seen); }

private:
    float score(const HeldTokens& held, std::int64_t slot, const float*) const override { return rand_.of(held, slot); }

    eviction::Given<float> rand_;
};

ATTENTA_END
