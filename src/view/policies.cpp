#include "caches.hpp"
#include "overlays.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace view {

namespace {

using attenta::Context;
using attenta::Heads;

/// A token that is evicted never comes back: a number for each tells who reads it.
class Lifetimes final : public KeptPairs {
public:
    Lifetimes(std::int64_t query_heads, std::int64_t kv_heads, std::int64_t tokens)
        : group_(query_heads / kv_heads),
          tokens_(tokens),
          end_(static_cast<std::size_t>(kv_heads * tokens), std::numeric_limits<std::int64_t>::max()) {}

    /// Of the first `seen` tokens, queries from number `seen` on read those at the positions `held`.
    void leave(std::int64_t kv_head, std::int64_t seen, const std::vector<std::int32_t>& held) {
        std::int64_t* const end = end_.data() + kv_head * tokens_;
        auto next = held.begin();
        for (std::int64_t token = 0; token < seen; ++token) {
            if (next != held.end() && *next == token)
                ++next;
            else
                end[token] = std::min(end[token], seen);
        }
    }

    void row(std::int64_t head, std::int64_t query, std::int64_t first, std::span<bool> kept) const override {
        const std::int64_t* const end = end_.data() + head / group_ * tokens_ + first;
        for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = query < end[i];
    }

private:
    std::int64_t group_, tokens_;
    std::vector<std::int64_t> end_;  ///< [Hkv, tokens] the first query that does not read a token
};

[[noreturn]] void refuse(const Policy& policy, const std::string& reason) {
    attenta::fail("view", "policy " + policy.name + " " + reason);
}

/// A cache gives its queries plain causal attention and nothing else.
void check(const Policy& policy, const LayerInputs& x) {
    const attenta::SoftmaxOptions& o = x.options;
    const std::int64_t tokens = x.q.tokens;
    if (!x.v.data) refuse(policy, "needs v");
    if (x.v.heads != x.k.heads || x.v.tokens != x.k.tokens)
        refuse(policy, "needs as many heads and tokens of v as of k");
    if (!o.causal) refuse(policy, "needs causal attention");
    if (tokens != x.k.tokens)
        refuse(policy, "needs a query for each key, there are " + std::to_string(tokens) + " queries and " +
                           std::to_string(x.k.tokens) + " keys");
    if (x.q.heads % x.k.heads != 0)
        refuse(policy, "needs a multiple of the " + std::to_string(x.k.heads) + " heads of k, q has " +
                           std::to_string(x.q.heads));
    const bool edited = o.softcap != 0 || !o.alibi_slopes.empty() || !o.sink.empty() || o.bias;
    const bool hidden =
        o.prefix != 0 || o.window_left >= 0 || o.mask || !o.segment_q.empty() || o.q_offset.value_or(0) != 0;
    if (edited || hidden) refuse(policy, "needs causal attention without windows, masks, biases, soft-cap and sinks");
    if (policy.budget < 1) refuse(policy, "has a budget of " + std::to_string(policy.budget) + ", needs at least 1");
    if (policy.prefill < 1 || policy.prefill > tokens)
        refuse(policy,
               "reads " + std::to_string(policy.prefill) + " tokens at once, needs 1 to " + std::to_string(tokens));
}

}  // namespace

std::vector<std::string> policy_names() {
    std::vector<std::string> names = caches::names(caches::policies());
    names.erase(std::find(names.begin(), names.end(), "full"));
    return names;
}

std::unique_ptr<KeptPairs> kept_by(const Policy& policy, const LayerInputs& x, Context& context) {
    const auto rule = caches::find(caches::policies(), policy.name).make(policy.budget);
    check(policy, x);
    attenta::KvCache cache({.kv_heads = x.k.heads, .dim = x.k.dim, .dim_v = x.v.dim, .capacity = x.k.tokens});
    attenta::Evictor evictor(cache, *rule, {.query_heads = x.q.heads, .scale = x.options.scale});
    std::vector<float> o(static_cast<std::size_t>(x.q.heads * x.v.dim));
    auto kept = std::make_unique<Lifetimes>(x.q.heads, x.k.heads, x.k.tokens);
    const auto leave = [&](std::int64_t seen) {
        for (std::int64_t g = 0; g < x.k.heads; ++g) kept->leave(g, seen, evictor.kept(g));
    };
    const auto part = [&](const Heads<const float>& of, std::int64_t first, std::int64_t count) {
        return of.slice(first, count);
    };
    evictor.prompt(part(x.q, 0, policy.prefill), part(x.k, 0, policy.prefill), part(x.v, 0, policy.prefill), {},
                   context);
    leave(policy.prefill);
    for (std::int64_t t = policy.prefill; t < x.k.tokens; ++t) {
        evictor.step(part(x.q, t, 1), part(x.k, t, 1), part(x.v, t, 1), attenta::hnd(o.data(), x.q.heads, 1, x.v.dim),
                     context);
        leave(t + 1);
    }
    return kept;
}

}  // namespace view
