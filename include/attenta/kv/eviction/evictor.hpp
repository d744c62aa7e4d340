// A layer of a cache under an eviction policy.
//
//   prompt   causal attention over all of it, then the policy compresses
//   step     the new token joins, its query attends to what is held, itself included, then the policy evicts
//
// Softmax is always over the tokens held. Attention hands a policy just what it needs: nothing, the weights of the newest
// query (from the scores of the step itself), weights of the last queries, or sums over the prompt; a map of all pairs never
// exists.
#pragma once

#include <attenta/kv/cache.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <memory>
#include <vector>

ATTENTA_BEGIN

struct EvictorOptions {
    int layer = 0;
    std::int64_t query_heads = 0;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
};

class Evictor {
public:
    /// Cache and policy are borrowed; the layer is empty. Throws Error on heads that do not fit and as the policy does.
    Evictor(KvCache& cache, EvictionPolicy& policy, const EvictorOptions& options);
    ~Evictor();

    /// q [Hq, P, D], k [Hkv, P, D], v [Hkv, P, Dv], rotated as attention wants them; o [Hq, P, Dv], or without data. The cache
    /// needs room for all of them. Throws Error on shapes that do not fit and where the layer holds tokens already.
    void prompt(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                Context& context = default_context());
    /// The same of one token. Throws Error where the layer has changed otherwise since. Scores that are no numbers are refused
    /// when somebody has to go: the token has joined by then.
    void step(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
              Context& context = default_context());

    /// Positions that a head holds, ascending.
    std::vector<std::int32_t> kept(std::int64_t head) const;

private:
    class Attention;

    void check(const char* function, Heads<const float> q, Heads<const float> k, Heads<const float> v,
               Heads<float> o) const;
    void append(Heads<const float> k, Heads<const float> v);
    void evict(EvictionMoment& now);
    std::span<const std::int32_t> chosen(const HeldTokens& held, const EvictionChoice& choice);
    void look();

    KvCache& cache_;
    EvictionPolicy& policy_;
    EvictorOptions options_;
    EvictionShape shape_;
    EvictionNeeds needs_;
    std::vector<HeldTokens> heads_;
    std::vector<EvictionChoice> choices_;
    std::vector<float> columns_;              ///< [heads, columns, capacity]
    std::vector<std::uint8_t> byte_columns_;  ///< [heads, byte_columns, capacity]
    std::vector<float> weights_, lse_;        ///< of the newest query, [Hq, capacity]
    std::vector<float> window_;   ///< the newest queries, [window, Hq, D], the one at position p in row p % window
    std::vector<float> turned_;   ///< the newest query as rotated keys want it
    std::int64_t seen_ = 0;       ///< tokens that came through here: all of the layer's
    std::vector<float> queries_;  ///< the same in order, [Hq, at most window, D]
    std::vector<std::int32_t> order_, gone_;
    mutable std::vector<float> scratch_;  ///< weights and products on their way to a policy
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/eviction/evictor.inl>
#endif
