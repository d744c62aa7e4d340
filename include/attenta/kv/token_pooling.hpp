// Token pooling: vectors that are alike become one, their mean. Clavié, Chaffin and Adams 2024, "Reducing the Footprint
// of Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling", section 2.
//
// Ward's method (Ward 1963) on d_ab = 1 − cos(x_a, x_b), or on the distances between rows of that matrix: the closest
// pair A, B is merged, and every other cluster C is then
//
//   d(AB, C)² = ((|A|+|C|) d(A, C)² + (|B|+|C|) d(B, C)² − |C| d(A, B)²) / (|A|+|B|+|C|)
//
// away, until max(⌊n / pool_factor⌋, 1) clusters of n vectors are left. A chain of nearest neighbours (Murtagh 1983)
// finds the same tree in O(n²) once the distances are there, O(n²·D). Memory 4·n² bytes, of a cache for each K/V head
// that is at work.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/kv/cache.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class PoolingDistance : std::uint8_t { cosine, rows };
constexpr auto names_of(PoolingDistance) { return std::to_array<std::string_view>({"cosine", "rows"}); }

struct TokenPoolingOptions {
    std::int64_t pool_factor = 2;       ///< vectors of a cluster, on average
    std::int64_t protected_tokens = 1;  ///< first vectors, which stay alone
    PoolingDistance distance = PoolingDistance::cosine;

    static void fields(auto&& visit, auto& o) {
        visit("pool_factor", o.pool_factor, "vectors of a cluster, on average");
        visit("protected", o.protected_tokens, "first vectors, which stay alone");
        visit("distance", o.distance, "cosine, or rows: Euclidean, of the rows of the matrix of cosine distances");
    }
};

struct PooledTokens {
    std::vector<float> pooled;         ///< [M, D] means, not renormalised
    std::vector<std::int64_t> labels;  ///< [N] row of `pooled`; clusters are numbered by their first member
};

/// x [N, D], a document. Throws Error on shapes and options that do not fit, on numbers that are not finite, and on zero
/// vectors among those that are clustered.
PooledTokens token_pooling(Matrices<const float> x, const TokenPoolingOptions& options = {});

struct PooledLayerOptions : TokenPoolingOptions {
    std::int64_t recent = 0;          ///< last tokens of the prompt, which stay alone
    bool count_bias = false;          ///< an entry of c tokens gets + ln c on its scaled score
    std::optional<float> scale = {};  ///< factor of q·k, default 1/sqrt(D)
    std::int64_t query_heads = 0;
    int layer = 0;  ///< of the cache

    static void fields(auto&& visit, auto& o) {
        TokenPoolingOptions::fields(visit, o);
        visit("recent", o.recent, "last tokens of the prompt, which stay alone");
        visit("count_bias", o.count_bias, "an entry of c tokens gets + ln c on its scaled score");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

/// A layer of a cache that holds a prompt in pooled entries, clustered by their keys, then all later tokens. Keys are
/// averaged as they are, rotated.
class PooledLayer {
public:
    /// The cache is borrowed; the layer is empty. Throws Error as token_pooling does.
    PooledLayer(KvCache& cache, const PooledLayerOptions& options);

    /// k [Hkv, P, D], v [Hkv, P, Dv]. Throws Error as token_pooling does, and where the layer holds something or has no
    /// room.
    void prompt(Heads<const float> k, Heads<const float> v, Context& context = default_context());
    /// Appends k [Hkv, n, D], v [Hkv, n, Dv]; o [Hq, n, Dv] is attention of q [Hq, n, D] to the entries and to all later
    /// tokens up to its own. Throws Error on shapes that do not fit.
    void step(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
              Context& context = default_context());

    /// [P] of a head: the entry that each token of the prompt went into.
    std::span<const std::int64_t> labels(std::int64_t head) const { return labels_[static_cast<std::size_t>(head)]; }

private:
    KvCache& cache_;
    PooledLayerOptions options_;
    std::vector<std::vector<std::int64_t>> labels_;
    std::vector<float> bias_;  ///< [Hq, capacity]
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/token_pooling.inl>
#endif
