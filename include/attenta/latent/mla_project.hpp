// From hidden states to what mla reads: the projections, norms and rotations of a layer. DeepSeek-AI 2024, "DeepSeek-V2", eq. 37-43.
//
//   d_t = W^DKV x_t,  c_t = rmsnorm(d_t[:R]; kv_norm),  k^r_t = rope(d_t[R:], t)
//   q_ht = W^Q_h x_t, or W^UQ_h rmsnorm(W^DQ x_t; q_norm);  q^n = q[:Dn],  q^r = rope(q[Dn:], t)
//
//   rmsnorm(y; g) = y / sqrt(mean y² + eps) · g;  rope turns neighbours of channels by t · rope_base^(−2m/Dr)
//
// The latents and rotary keys go into a cache; a model whose rotation pairs halves permutes the Dr rows of its weights once.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

/// Either w_q, or w_dq with q_norm and w_uq.
struct MlaProjectInputs {
    Matrices<const float> x, w_dkv;
    std::span<const float> kv_norm;
    Heads<const float> w_q = {};
    Matrices<const float> w_dq = {};
    std::span<const float> q_norm = {};
    Heads<const float> w_uq = {};

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[N, E]");
        visit("w_dkv", x.w_dkv, "[M, E]");
        visit("kv_norm", x.kv_norm, "[R]");
        visit("w_q", x.w_q, "[Hq, Dq, E]", Input::optional);
        visit("w_dq", x.w_dq, "[Rq, E]", Input::optional);
        visit("q_norm", x.q_norm, "[Rq]", Input::optional);
        visit("w_uq", x.w_uq, "[Hq, Dq, Rq]", Input::optional);
    }
};

struct MlaProjectOptions {
    std::int64_t position = 0;  ///< of the first token
    float eps = 1e-6f;          ///< of the norms, above 0
    float rope_base = 10000;    ///< above 1
};

/// q_nope [Hq, N, Dn], q_pe [Hq, N, Dr], c_kv [1, N, R], k_pe [1, N, Dr].
struct MlaProjections {
    Heads<float> q_nope, q_pe, c_kv, k_pe;
};

/// Throws Error on shapes and options that do not fit, both or neither of w_q and w_dq, and an odd Dr; nothing is written then.
void mla_project(const MlaProjectInputs& x, const MlaProjections& out, const MlaProjectOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/latent/mla_project.inl>
#endif
