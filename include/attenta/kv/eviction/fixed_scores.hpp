// Policies whose score of a token is fixed when it is stored.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

struct RecentOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    std::int64_t recent = 0;     ///< of them the newest ones

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("recent", o.recent, "of them the newest ones");
    }
};

namespace eviction {

/// ‖x‖₂ of n numbers, without overflow.
inline float norm(const float* x, std::int64_t n) {
    double squares = 0;
    for (std::int64_t c = 0; c < n; ++c) squares += double{x[c]} * double{x[c]};
    return static_cast<float>(std::sqrt(squares));
}

/// The newest `recent` tokens stay, and of the others those with the best scores. One float per token.
class FixedScores : public EvictionPolicy {
public:
    EvictionNeeds needs(const EvictionShape& shape) override {
        check_budget(name_, options_.budget, "recent", options_.recent);
        dim_ = shape.dim;
        return {.columns = 1, .rows = true};
    }
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float*) final {
        held.column(0)[slot] = score(held, slot, k);
    }
    void judge(const EvictionMoment&, std::span<const HeldTokens> heads, std::span<EvictionChoice> choices) final {
        for (const HeldTokens& held : heads)
            choices[static_cast<std::size_t>(held.head)] = {
                .scores = held.column(0), .keep = options_.budget, .recent = options_.recent};
    }

protected:
    /// `name` stands in messages, and is borrowed.
    FixedScores(const char* name, const RecentOptions& options) : name_(name), options_(options) {}
    /// Of the token that has come into a slot, with its key.
    virtual float score(const HeldTokens& held, std::int64_t slot, const float* k) const = 0;
    std::int64_t dim() const { return dim_; }

private:
    const char* name_;
    RecentOptions options_;
    std::int64_t dim_ = 0;
};

}  // namespace eviction

ATTENTA_END
