// Efficient attention. Hosseini and Hosseini 2024, You Need to Pay Better Attention: neither keys nor values are projected.
//
//   o^h = softmax(scale · q^h x_k[:, h·D : (h + 1)·D]ᵀ) x_v[:, h·Dv : (h + 1)·Dv]
//
// Keys and values are views of the raw inputs; nothing is copied.
#pragma once

#include <attenta/variants/projections/slices.hpp>

ATTENTA_BEGIN

struct EfficientProjectionInputs {
    Heads<const float> q;
    Matrices<const float> x_k, x_v;  ///< M = Hq·D and N = Hq·Dv columns

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("x_k", x.x_k, "[Tk, M]");
        visit("x_v", x.x_v, "[Tk, N]");
    }
};

struct EfficientProjectionOptions : detail::SliceOptions {};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void efficient_projection(const EfficientProjectionInputs& x, const SoftmaxOutputs& out,
                          const EfficientProjectionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/projections/efficient_projection.inl>
#endif
