// Low-rank keys: attention scores from the leading principal components of the keys. Singhania et al. 2024, "Loki: Low-Rank Keys
// for Efficient Sparse Attention", sections 3 and 4; the top-k selection by these scores is sparse/retrieval/loki.hpp.
//
//   P = [p_1 .. p_D], λ   eigenvectors of the covariance Σ (c − mean)(c − mean)ᵀ / (N − 1) of calibration keys, λ falling
//   r                     given, or the most over the heads of components whose cumulated share of Σ λ is below `variance`
//   s_ij = scale (P_rᵀ q_i)·(P_rᵀ k_j),   o_i = softmax_j(s_i) v,   lse_i = ln Σ_j exp s_ij
//
// The basis is found once and kept. q and k are used as they are, and not centred. P is orthogonal, so all D components give
// exact attention: a cache may hold k P, whose first r numbers rank and all of them score. Time T·D·r to project, then
// attention with r features.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

/// Calibration keys as they come, or rotated at positions 0 .. N-1: channel d with channel d + D/2 by position · base^(-2d/D).
enum class KeyRotary : std::uint8_t { pre, post };
constexpr std::array<std::string_view, 2> names_of(KeyRotary) { return {"pre", "post"}; }

struct KeyBasisOptions {
    KeyRotary rotary = KeyRotary::pre;
    double rope_base = 10000;  ///< of post

    static void fields(auto&& visit, auto& o) {
        visit("rotary", o.rotary, "pre or post: whether calibration keys are rotated first");
        visit("rope_base", o.rope_base, "base of the rotation's angles");
    }
};

/// Principal components of the keys of each K/V head, a value that is made once for a model.
struct KeyBasis {
    std::int64_t heads = 0, dim = 0;
    std::vector<float> components;                 ///< [heads, D, D], columns by falling variance; their signs are free
    std::vector<double> explained_variance_ratio;  ///< [heads, D]

    /// The rank rule of the paper's code: the most components over the heads whose cumulated share is below `variance`, at
    /// least 1. Throws Error unless 0 < variance < 1.
    std::int64_t rank(double variance) const;
    /// [heads, D, r]: the first r columns. Throws Error unless 1 <= r <= D.
    Matrices<const float> leading(std::int64_t r) const;
    /// P_r P_rᵀ [heads, D, D].
    void projector(std::int64_t r, Heads<float> to, Context& context = default_context()) const;
    /// x P_r [H, T, r] of keys, or of queries with heads in groups: what a cache may keep of a key when it enters. Throws Error
    /// on shapes that do not fit; nothing is written then.
    void project(Heads<const float> x, Heads<float> to, Context& context = default_context()) const;
};

/// calibration [Hkv, N, D]; in double precision. Throws Error on fewer than 2 keys, numbers that are not finite, keys
/// without variance, and an odd D with post.
KeyBasis key_basis(Heads<const float> calibration, const KeyBasisOptions& options = {});

struct LowRankKeysInputs {
    Heads<const float> q, k, v;
    const KeyBasis* basis = nullptr;  ///< of the heads of k

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

/// One of rank and variance.
struct LowRankKeysOptions {
    std::optional<std::int64_t> rank = {};  ///< components, 1 to D
    std::optional<double> variance = {};    ///< between 0 and 1
    bool causal = false;                    ///< query i sees keys up to its own, the last being the newest key's
    std::optional<float> scale = {};        ///< default 1/sqrt(D) of all D; any finite value
    bool check_data = false;                ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("rank", o.rank, "components that score, in place of variance");
        visit("variance", o.variance, "share of the variance below which components are counted, in place of rank");
        visit("causal", o.causal, "query i sees keys up to its own");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct LowRankKeysOutputs {
    Heads<float> o;           ///< [Hq, Tq, Dv]
    float* lse = nullptr;     ///< [Hq, Tq]; or null
    float* scores = nullptr;  ///< [Hq, Tq, Tk] of all keys, those that are not visible too; or null
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void lowrank_keys(const LowRankKeysInputs& x, const LowRankKeysOutputs& out, const LowRankKeysOptions& options = {},
                  Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/lowrank_keys.inl>
#endif
