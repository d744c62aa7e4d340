// Super attention. Hosseini and Hosseini 2024, You Need to Pay Better Attention: efficient attention whose values are mixed along the
// sequence first.
//
//   v' = W_A x_v + b_A,   o^h = softmax(scale · q^h x_k[:, h·D : (h + 1)·D]ᵀ) v'[:, h·Dv : (h + 1)·Dv]
//
// Of W_A the first Tk rows and columns count, of a causal call its lower triangle. v' is one product for all heads where they share
// W_A; keys are views of the raw input. Time Tq·Tk·(D + Dv) per head and Tk²·Hq·Dv for v', half of that with a triangle.
#pragma once

#include <attenta/variants/projections/slices.hpp>

#include <span>

ATTENTA_BEGIN

struct SuperAttentionInputs {
    Heads<const float> q;
    Matrices<const float> x_k, x_v;  ///< M = Hq·D and N = Hq·Dv columns
    Matrices<const float> w_a;       ///< [1 or Hq, S, S], S >= Tk
    std::span<const float> b_a = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("x_k", x.x_k, "[Tk, M]");
        visit("x_v", x.x_v, "[Tk, N]");
        visit("b_a", x.b_a, "[S]", Input::optional);
    }
};

struct SuperAttentionOptions : detail::SliceOptions {};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void super_attention(const SuperAttentionInputs& x, const SoftmaxOutputs& out,
                     const SuperAttentionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/projections/super_attention.inl>
#endif
