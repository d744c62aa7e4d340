// How few directions explain the score of a pair of tokens. Franco and Crovella 2024, "Sparse Attention Decomposition Applied to
// Circuit Tracing".
//
//   Ω = [W_Q; b_Q] [W_K; b_K]ᵀ = U diag(σ) Vᵀ,   x̃ = (x, 1),   score = x̃_iᵀ Ω x̃_j = Σ_k terms_k
//   terms_k = σ_k (x̃_i · u_k) (x̃_j · v_k),   σ from the largest on; without 1/sqrt(D)
//   count = terms that it takes, the largest of the score's own sign first, until their sum is more than `share` of the score
//   used  = which they are
//
// x are residual vectors after the layer's norm. All D terms are used where no fewer suffice, and of a score of 0. A rotation by position
// stands between the factors: it is folded into x or left out. Ω itself is never made: two thin QR factorisations leave a D×D matrix.
// Time H·(d·D² + T·d·D + P·D log D), in double precision; compiled library only.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct CircuitSvdInputs {
    DenseTensor<const float, 2> x;
    DenseTensor<const float, 3> w_q, w_k;
    DenseTensor<const float, 2> b_q, b_k;
    DenseTensor<const std::int64_t, 2> pairs;  ///< destination and source

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[T, d]");
        visit("w_q", in.w_q, "[H, d, D]");
        visit("w_k", in.w_k, "[H, d, D]");
        visit("b_q", in.b_q, "[H, D]");
        visit("b_k", in.b_k, "[H, D]");
        visit("pairs", in.pairs, "[P, 2]");
    }
};

struct CircuitSvdOptions {
    double share = 0.7;  ///< of the score, above 0 and at most 1

    static void fields(auto&& visit, auto& o) { visit("share", o.share, "part of the score that is explained"); }
};

struct CircuitSvdOutputs {
    float *singular_values = nullptr, *terms = nullptr, *score = nullptr;
    std::int64_t *count = nullptr, *used = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("singular_values", out.singular_values, "[H, D]");
        visit("terms", out.terms, "[H, P, D]");
        visit("score", out.score, "[H, P]");
        visit("count", out.count, "[H, P]");
        visit("used", out.used, "[H, P, D]");
    }
};

/// Throws Error on shapes and options that do not fit, D > d + 1, pairs that name no token, and numbers that are not finite; nothing is
/// written then.
void circuit_svd(const CircuitSvdInputs& x, const CircuitSvdOutputs& out, const CircuitSvdOptions& options = {},
                 Context& context = default_context());

}  // namespace analysis

ATTENTA_END
