// CLOVER: the weights of each head are merged, decomposed and cut to their largest singular values. Meng et al. 2025, "CLOVER:
// Cross-Layer Orthogonal Vectors Pruning and Fine-Tuning".
//
//   x̃ = [x, 1] and the bias as a column W~ = [W, b], wherever a bias is given
//   W~qᵀ W~k = U S Vᵀ, the rank_qk largest:  W~q' = S^½ Uᵀ, W~k' = S^½ Vᵀ
//   W~vᵀ Woᵀ = U S Vᵀ, the rank_vo largest:  W~v' = S^½ Uᵀ, Wo' = V S^½
//   y_i = bo + Σ_h Σ_j softmax_j(scale · (W~q x̃_i)·(W~k x̃_j)) Wo W~v x̃_j
//
// The last line runs as well on the small weights, with heads of rank_qk and rank_vo channels; `scale` stays that of the
// original heads. At full rank both give the same. A rotation by positions stands between W_q and W_k, which cannot be
// merged then: such a model may cut rank_vo alone. Factorising takes E·D² per head, once.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

/// Weights of heads, as rows that multiply a token; those before or behind a factorisation.
struct CloverInputs {
    Matrices<const float> x;
    Heads<const float> wq, wk, wv, wo;
    Heads<const float> bq = {}, bk = {}, bv = {};
    std::span<const float> bo = {};

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[T, E]");
        visit("wq", in.wq, "[H, TD, E]");
        visit("wk", in.wk, "[H, TD, E]");
        visit("wv", in.wv, "[H, TV, E]");
        visit("wo", in.wo, "[H, TO, Dv]");
        visit("bq", in.bq, "[H, D]", Input::optional);
        visit("bk", in.bk, "[H, D]", Input::optional);
        visit("bv", in.bv, "[H, Dv]", Input::optional);
        visit("bo", in.bo, "[O]", Input::optional);
    }
};

struct CloverRanks {
    std::optional<std::int64_t> rank_qk = {}, rank_vo = {};  ///< 1 to D and 1 to Dv, the default

    static void fields(auto&& visit, auto& o) {
        visit("rank_qk", o.rank_qk, "singular values of queries and keys that are kept, default D");
        visit("rank_vo", o.rank_vo, "singular values of values and output that are kept, default Dv");
    }
};

/// What a factorisation gives, a value. Signs of directions are free.
struct CloverWeights {
    std::int64_t heads = 0, inputs = 0, outputs = 0, rank_qk = 0, rank_vo = 0;
    std::vector<float> wq, wk, wv, wo;             ///< [H, r, E], wo [H, Eo, rank_vo]
    std::vector<float> bq, bk, bv;                 ///< [H, r], or empty as before
    std::vector<float> bo;                         ///< [Eo], or empty as before
    std::vector<double> qk_singular, vo_singular;  ///< [H, D] and [H, Dv], descending, before the cut
    float scale = 1;                               ///< 1/sqrt(D) of the original heads

    /// For `clover`, on tokens x [T, E].
    CloverInputs on(const Matrices<const float>& x) const;
};

/// The weights of `in`, whose x may be without data; in double precision. Throws Error on shapes and ranks that do not fit
/// and on numbers that are not finite.
CloverWeights clover_factorise(const CloverInputs& in, const CloverRanks& ranks = {});

struct CloverOptions {
    bool causal = false;
    std::optional<float> scale = {};  ///< needed: weights do not tell how many channels their heads had
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "token i sees tokens j <= i");
        visit("scale", o.scale, "factor of q·k, 1/sqrt(D) of the original heads");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Attention with these weights; o [T, Eo], one matrix. Throws Error on shapes that do not fit and without a scale;
/// nothing is written then.
void clover(const CloverInputs& x, Matrices<float> o, const CloverOptions& options,
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/clover.inl>
#endif
