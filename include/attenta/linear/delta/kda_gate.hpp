// The gates of KDA and GDN-2 from a layer's projection. Kimi Team 2025, "Kimi Linear"; the bounded form is that of Kimi K3.
//
//   open:     g = −exp(A_h) softplus(x + bias)               in (−inf, 0)
//   bounded:  g = bound · sigmoid(exp(A_h) (x + bias))       in (bound, 0), bound < 0
//
//   The bound is a scale, no clamp: x = −bias gives bound / 2.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <optional>
#include <span>

ATTENTA_BEGIN

/// x is [Hs, T, D], or [Hs, T] for gates of tokens. Without A, exp(A) is 1; without bias it is 0.
struct KdaGateInputs {
    Heads<const float> x;
    std::span<const float> A = {};
    Heads<const float> bias = {};

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[Hs, T, D]");
        visit("A", in.A, "[Hs]", Input::optional);
        visit("bias", in.bias, "[Hs, D]", Input::optional);
    }
};

struct KdaGateOptions {
    std::optional<float> bound = {};  ///< of the bounded form, below 0; default: the open form
};

/// g [Hs, T, D], may be x. Throws Error on shapes that do not fit and on a bound that is not below 0; nothing is written then.
void kda_gate(const KdaGateInputs& in, Heads<float> g, const KdaGateOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/isa.inl>
#include <attenta/linear/delta/kda_gate.inl>
#include <attenta/linear/delta/kda_gate_kernels.inl>
#endif
