// SOFT: attention with a Gaussian kernel in place of softmax, decomposed through landmarks. Lu et al. 2021, "SOFT: Softmax-free
// Transformer with Linear Complexity"; with `normalize` SOFT++, Lu et al. 2024, "Softmax-free Linear Transformers".
//
//   κ(a, b) = exp(−scale |a − b|² / 2);  C = κ(q, l) [T, m],  A = κ(l, l) [m, m],  a = largest row sum of A
//   P = A + ridge I,  X_0 = (init_factor / a²) P;  normalize: X_0 <- X_0 / 2 while ‖I − P X_0‖₁ > 1.01, at most 10 times
//   X <- 2 X − X P X   `iterations` times;   A⁺ = X,  normalize: D X D with D = diag(A 1)^(−1/2)
//   o = C A⁺ Cᵀ v + residual;   without landmarks o_i = Σ_j κ(q_i, q_j) v_j + residual
//   residual: a 2-D convolution of v on the grid of tokens, one kernel per head, zero outside
//
// Queries are the keys. The number of steps is part of the definition: with landmarks near each other X is no inverse yet.
// A sum Σ_j κ(a, b_j) v_j is softmax attention over scores −scale |a − b_j|² / 2, times exp(lse).
// Time T·m·(D + Dv) + m³ per step and head; T²·(D + Dv) without landmarks. Not causal, not normalised: o grows with T.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// `landmarks` are in the units of q; a convolution or a pooling of q makes them.
struct SoftInputs {
    Heads<const float> q, v, landmarks = {}, conv_weight = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("landmarks", x.landmarks, "[H, Tm, D]", Input::optional);
        visit("conv_weight", x.conv_weight, "[H, TK, K]", Input::optional);
    }
};

struct SoftOptions {
    bool normalize = false;                             ///< SOFT++
    std::int64_t iterations = 20;                       ///< steps of Newton and Raphson
    std::optional<float> ridge = {}, init_factor = {};  ///< default 0.01 and 1.8, with normalize 0 and 2
    std::optional<float> scale = {};                    ///< default 1/sqrt(D); finite, at least 0
    std::int64_t grid_height = 0, grid_width = 0;       ///< of the tokens, row after row; for conv_weight alone
    bool check_data = false;                            ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("normalize", o.normalize, "SOFT++: the inverse between 1/sqrt of row sums");
        visit("iterations", o.iterations, "steps towards the inverse");
        visit("ridge", o.ridge, "added to the diagonal, default 0.01, with normalize 0");
        visit("init_factor", o.init_factor, "of the first guess, default 1.8, with normalize 2");
        visit("scale", o.scale, "factor of |a − b|²/2, default 1/sqrt(D)");
        visit("grid_height", o.grid_height, "rows of the grid of tokens, for conv_weight");
        visit("grid_width", o.grid_width, "columns of the grid of tokens, for conv_weight");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [H, T, Dv]. Throws Error on shapes and options that do not fit, conv_weight needs odd, equal sizes and T = grid_height ·
/// grid_width; nothing is written then.
void soft(const SoftInputs& x, Heads<float> o, const SoftOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/soft.inl>
#endif
