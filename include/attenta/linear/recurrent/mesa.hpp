// Mesa layer. von Oswald et al. 2025, "MesaNet: Sequence Modeling by Locally Optimal Test-Time Training".
//
//   R_t = exp(g_t) R_{t-1} + β_t k_t k_tᵀ,   S_t = exp(g_t) S_{t-1} + β_t k_t v_tᵀ
//   o_t = S_tᵀ (R_t + diag(ridge))⁻¹ q_t
//
//   The read of a ridge regression of all values so far on their keys. Every query's system is solved by conjugate gradients,
//   preconditioned by its diagonal, down to a residual of 1e-7 of the query; those of a chunk side by side, so that a step of
//   all of them is R of the chunk's start and the chunk's keys in matrix products. A small ridge takes more steps, at most 6 D.
//   Time T·(D² + D·Dv + steps·(D² + chunk·D)) per head, state D² + D·Dv.
#pragma once

#include <attenta/linear/common.hpp>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0; β >= 0, ridge > 0. Heads as in gla.hpp.
struct MesaInputs {
    Heads<const float> q, k, v, g, beta, ridge;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs, T]", Input::gate);
        visit("beta", x.beta, "[Hs, T]");
        visit("ridge", x.ridge, "[Hs, D]");
    }
};

struct MesaOptions {
    bool check_data = false;  ///< refuse NaN anywhere, gates above 0 and beta below 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("check_data", o.check_data, "refuse NaN, gates above 0, beta below 0");
    }
};

/// o [Ho, T, Dv]. `state` is read as the past and left at the end of the tokens, with S [Hs, D, Dv] as its matrix and R
/// [Hs, D, D], symmetric and positive semidefinite, as its normalizer; an empty one becomes zeros.
/// Throws Error on shapes that do not fit, on a ridge <= 0, and on bad numbers with `check_data`; nothing is written then.
void mesa(const MesaInputs& x, Heads<float> o, LinearState& state, const MesaOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/linear/recurrent/chunk_kernels.inl>
#include <attenta/linear/recurrent/mesa.inl>
#include <attenta/linear/recurrent/mesa_kernels.inl>
#endif
