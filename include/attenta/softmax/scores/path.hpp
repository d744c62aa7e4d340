// PaTH attention: between a key and a query lie the Householder-like transitions of the tokens in between. Yang et al. 2025, "PaTH
// Attention: Position Encoding via Accumulating Householder Transformations", sections 2-3; with forget gates PaTH-FoX.
//
//   H_t = I − β_t w_t w_tᵀ,  a_ij = q_iᵀ H_i ... H_{j+1} k_j for j <= i,  s_ij = scale · a_ij
//   with log gates g <= 0, G_t = g_0 + ... + g_t:  s_ij = scale · (a_ij + G_i − G_j), or scale · a_ij + G_i − G_j
//
// Blocks of tokens, rows W, B = diag(β) W, M = (I + strict_lower(B Wᵀ))⁻¹. Inside a block
//   a = lower(Q Kᵀ) − lower(Q Wᵀ) M strict_lower(B Kᵀ);
// queries move to the block's left edge, Q − lower(Q Wᵀ) M B, where the keys of all blocks before stand, moved there when their
// blocks ended: plain attention. Then all keys move to the block's right edge: what the next block and a cache need.
// Time as softmax, and Tk/2·Tq·3 D multiply-adds more for each K/V head.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <optional>
#include <vector>

ATTENTA_BEGIN

namespace detail {
class PathCall;
}

/// w as it is used: layers give unit vectors, and beta in (0, 2).
struct PathInputs {
    Heads<const float> q, k, v, w, beta, g = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hkv, T, D]");
        visit("v", x.v, "[Hkv, T, Dv]");
        visit("w", x.w, "[Hkv, T, D]");
        visit("beta", x.beta, "[Hkv, T]");
        visit("g", x.g, "[Hq, T]", Input::optional | Input::gate);
    }
};

struct PathOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D), any finite value
    bool gate_scaled = true;          ///< the released kernels scale the gates with the scores

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("gate_scaled", o.gate_scaled, "the gates are scaled with the scores");
    }
};

/// What the past leaves: keys moved to the newest token, values, and with gates their sums. A value.
class PathCache {
public:
    std::int64_t tokens() const { return tokens_; }
    /// [Hkv, tokens, D], and [Hkv, tokens, Dv]
    Heads<const float> keys() const {
        return hnd(keys_.data(), heads_, tokens_, dim_, {.head_stride = capacity_ * dim_});
    }
    Heads<const float> values() const {
        return hnd(values_.data(), heads_, tokens_, dim_v_, {.head_stride = capacity_ * dim_v_});
    }
    bool gated() const { return query_heads_ > 0; }
    /// Tokens from another's run: keys at the newest token, values, and where there are gates the log gate of each token and query
    /// head, [Hq, n]. Throws Error where shapes do not fit; the cache must be empty.
    void load(const Heads<const float>& keys, const Heads<const float>& values, const Heads<const float>& gates = {});

private:
    friend class detail::PathCall;
    /// Room for `more` tokens, of these heads where it is empty.
    void grow(std::int64_t heads, std::int64_t query_heads, std::int64_t dim, std::int64_t dim_v, std::int64_t more);
    float* key(std::int64_t h, std::int64_t t) { return keys_.data() + (h * capacity_ + t) * dim_; }
    float* value(std::int64_t h, std::int64_t t) { return values_.data() + (h * capacity_ + t) * dim_v_; }
    double& gate_sum(std::int64_t h, std::int64_t t) { return gate_sums_.data()[h * capacity_ + t]; }

    std::int64_t heads_ = 0, query_heads_ = 0, dim_ = 0, dim_v_ = 0, tokens_ = 0, capacity_ = 0;
    std::vector<float> keys_, values_;
    std::vector<double> gate_sums_;  ///< [Hq, capacity] G
};

struct PathOutputs {
    Heads<float> o;        ///< [Hq, T, Dv]
    float* lse = nullptr;  ///< [Hq, T], natural logarithm, or null
};

/// Attends with the tokens' queries and appends the tokens to the cache: prefill and decode are one function, cut anywhere.
/// Throws Error on shapes that do not fit, and gates that the cache has or has not; nothing is written then.
void path_attention(const PathInputs& x, const PathOutputs& out, PathCache& cache, const PathOptions& options = {},
                    Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/softmax/scores/path.inl>
#endif
