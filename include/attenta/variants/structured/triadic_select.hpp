// Triadic modulation with selection (Co4, vision form): one latent modulates all tokens, the largest entries of every channel attend to
// each other and are put back. Adeel, Bilal 2026, "Scalable Machines with Intrinsic Higher Mental-State Dynamics".
//
//   qm = q_0 ⊙ k + q,  km = k_0 ⊙ q + k,  vm = v² + 2v + (q_0 ⊙ k_0)(1 + |v_0|)
//   Q', K', V' [top_k, D]: of each channel the largest of qm, km, vm over tokens, falling; `index` those of vm
//   a = softmax([q_0; Q'] [k_0; K']ᵀ / sqrt(D)) [v_0; V']
//   o = [a_0; vm, with a_1 … added at the index of each channel]
//
// Rows of Q', K' and V' mix channels of different tokens. Time T D, and top_k² D.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>

ATTENTA_BEGIN

struct TriadicSelectInputs {
    Heads<const float> q, k, v, q_latent, k_latent, v_latent;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
        visit("q_latent", x.q_latent, "[H, 1, D]");
        visit("k_latent", x.k_latent, "[H, 1, D]");
        visit("v_latent", x.v_latent, "[H, 1, D]");
    }
};

struct TriadicSelectOptions {
    std::int64_t top_k = 12;  ///< entries of a channel that attend

    static void fields(auto&& visit, auto& o) { visit("top_k", o.top_k, "entries of each channel that attend"); }
};

struct TriadicSelectOutputs {
    Heads<float> o;                 ///< [H, 1 + T, D]
    std::int64_t* index = nullptr;  ///< [H, top_k, D] tokens of V', of equal ones the first; NaN comes last; or null
};

/// Throws Error on shapes that do not fit and on a top_k below 1 or above T; nothing is written then.
void triadic_select(const TriadicSelectInputs& x, const TriadicSelectOutputs& out,
                    const TriadicSelectOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/select.inl>
#include <attenta/variants/structured/kernels.inl>
#include <attenta/variants/structured/triadic_select.inl>
#endif
