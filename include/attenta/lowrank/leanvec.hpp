// LeanVec: queries and keys in fewer dimensions, by projections that were fitted to both. Tepper et al. 2023, "LeanVec: Searching
// vectors faster by making them fit".
//
//   A, B [D, r] of each K/V head, from learning vectors Q [N, D] and X [M, D], so that (Aᵀ q)·(Bᵀ k) is near q·k:
//     id           A = B = the r leading eigenvectors of Xᵀ X, with `center` of (X − mean)ᵀ (X − mean)
//     eigsearch    A = B = those of (1 − beta) Qᵀ Q / N + beta Xᵀ X / M
//     frank_wolfe  minimises L = ‖Q A Bᵀ Xᵀ − Q Xᵀ‖² over the convex hull of orthonormal matrices, with G = Qᵀ Q, H = Xᵀ X, polar(Y)
//                  = U Vᵀ of Y's SVD, A = the first r columns of I, B = 0 and, t = 0, 1, .., γ = (t + 1)^−0.999:
//                    A <- (1 − γ) A + γ polar(G H B − G A Bᵀ H B)      not for t = 0
//                    B <- (1 − γ) B + γ polar(H G A − H B Aᵀ G A)
//                  until max_steps, or t > 1 and |L − L before| < rel_tol · L before
//   s_ij = scale (Aᵀ q_i)·(Bᵀ k_j);  of each query the `candidates` visible keys of largest s_ij are ranked again by
//   scale q_i·k_j, and the best top_k returned, largest first; ties go to the lower index
//
// The fit is made once and kept, from the Gram matrices G and H alone. Keys are projected when they enter, O(D r). Time of a
// query Tk·r + candidates·D.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class LeanvecMethod : std::uint8_t { id, eigsearch, frank_wolfe };
constexpr std::array<std::string_view, 3> names_of(LeanvecMethod) { return {"id", "eigsearch", "frank_wolfe"}; }

struct LeanvecFitOptions {
    LeanvecMethod method = LeanvecMethod::frank_wolfe;
    std::optional<std::int64_t> rank = {};  ///< 1 to D, default D/2
    bool center = false;                    ///< of id
    std::optional<double> beta = {};        ///< of eigsearch, which needs it, 0 to 1: the weight of the keys
    std::int64_t max_steps = 500;           ///< of frank_wolfe
    double rel_tol = 1e-3;                  ///< of frank_wolfe

    static void fields(auto&& visit, auto& o) {
        visit("method", o.method, "id, eigsearch or frank_wolfe");
        visit("rank", o.rank, "dimensions that are left, default D/2");
        visit("center", o.center, "id: of keys less their mean");
        visit("beta", o.beta, "eigsearch: weight of the keys beside the queries");
        visit("max_steps", o.max_steps, "frank_wolfe: steps at most");
        visit("rel_tol", o.rel_tol, "frank_wolfe: ends where the loss changes by less than this share");
    }
};

/// The two projections of each K/V head, a value that is made once for a model.
struct Leanvec {
    std::int64_t heads = 0, dim = 0, rank = 0;
    std::vector<float> a, b;  ///< [heads, D, r], of queries and of keys
    std::vector<double> loss;  ///< [heads], L / ‖Q Xᵀ‖² of the learning vectors, which may have no products: then 0

    Matrices<const float> of_queries() const { return {a.data(), heads, dim, rank}; }
    Matrices<const float> of_keys() const { return {b.data(), heads, dim, rank}; }
    /// A Bᵀ [heads, D, D].
    void product(Heads<float> to, Context& context = default_context()) const;
    /// k B [heads, T, r] of keys: what is kept of a key when it enters. Throws Error on shapes that do not fit.
    void project_keys(Heads<const float> k, Heads<float> to, Context& context = default_context()) const;
};

/// learn_q [Hkv, N, D], learn_k [Hkv, M, D]; in double precision. Throws Error on shapes and options that do not fit and on
/// numbers that are not finite.
Leanvec leanvec_fit(Heads<const float> learn_q, Heads<const float> learn_k, const LeanvecFitOptions& options = {});

struct LeanvecInputs {
    Heads<const float> q, k;
    const Leanvec* projections = nullptr;  ///< of the heads of k
    Heads<const float> low_k = {};         ///< [Hkv, Tk, r] from project_keys; or nothing: they are made for this call

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("low_k", x.low_k, "[Hkv, Tk, R]", Input::optional);
    }
};

struct LeanvecOptions {
    bool causal = false;              ///< query i sees keys up to its own, the last being the newest key's
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    std::int64_t candidates = 64;     ///< keys that are ranked again, at most those that every query sees
    std::int64_t top_k = 16;          ///< of them that are returned
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys up to its own");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("candidates", o.candidates, "keys that are ranked again");
        visit("top_k", o.top_k, "of them that are returned");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Any of them may be null. A query whose scores are NaN has fewer candidates: −1 and NaN stand in their place.
struct LeanvecOutputs {
    std::int64_t* indices = nullptr;  ///< [Hq, Tq, top_k]
    float* rerank_scores = nullptr;   ///< [Hq, Tq, top_k]
    float* scores = nullptr;          ///< [Hq, Tq, Tk] of all keys, those that are not visible too
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void leanvec(const LeanvecInputs& x, const LeanvecOutputs& out, const LeanvecOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/lowrank/leanvec.inl>
#endif
