// Optimised attention. Hosseini and Hosseini 2024, You Need to Pay Better Attention: softmax attention without a projection of
// values.
//
//   o^h = softmax(scale · q^h k^hᵀ) x_v[:, h·Dv : (h + 1)·Dv]
//
// The values are views of the raw input; nothing is copied.
#pragma once

#include <attenta/variants/projections/slices.hpp>

#include <optional>

ATTENTA_BEGIN

struct OptimisedInputs {
    Heads<const float> q, k;
    Matrices<const float> x_v;  ///< N = Hq·Dv columns

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("x_v", x.x_v, "[Tk, N]");
    }
};

struct OptimisedOptions : detail::SliceOptions {};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit; nothing is written then.
void optimised(const OptimisedInputs& x, const SoftmaxOutputs& out, const OptimisedOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/projections/optimised.inl>
#endif
