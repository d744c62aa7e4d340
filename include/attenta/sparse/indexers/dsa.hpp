// DeepSeek sparse attention: a light indexer ranks all keys, attention reads the best. DeepSeek-V3.2-Exp (2025), eq. 1-2.
//
//   I_ij = Σ_h w_hi · max(0, q_idx_hi · k_idx_j),  A(i) = top_k of j <= i by I, shared by all heads
//   o_i  = Σ_{j ∈ A} softmax_j(scale · q_i·k_j) v_j
//
// In the model Hkv = 1 with a compressed latent as k and v. Ties, as those of keys that no head likes, go to the lower
// index. Time Tk·Hi·Di to rank and top_k·(D + Dv) per head to attend, per query.
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// w_idx holds any constant factors, such as Hi^-½ · Di^-½, and may be negative. The index keys are rows of any cache.
struct DsaInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> q_idx;
    Matrices<const float> k_idx;
    Heads<const float> w_idx;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("q_idx", x.q_idx, "[Gi, Tq, Di]");
        visit("k_idx", x.k_idx, "[Tk, Di]");
        visit("w_idx", x.w_idx, "[Gi, Tq]");
    }
};

struct DsaOptions {
    std::int64_t top_k = 2048;        ///< keys that a query reads
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("top_k", o.top_k, "keys that a query reads");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct DsaOutputs : SparseOutputs {
    float* index_score = nullptr;  ///< [Tq, Tk], I, 0 where j > i; or null
};

/// The selection alone. Throws Error on shapes and options that do not fit.
void dsa_lists(const DsaInputs& x, KeyLists& lists, const DsaOptions& options = {},
               Context& context = default_context(), float* index_score = nullptr);

/// Throws Error on shapes and options that do not fit; nothing is written then.
void dsa(const DsaInputs& x, const DsaOutputs& out, const DsaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/indexers/dsa.inl>
#endif
