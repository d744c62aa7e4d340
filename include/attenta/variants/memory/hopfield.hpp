// Retrieval from a modern Hopfield network. Ramsauer et al. 2020, Hopfield Networks is All You Need; its energy behind the semantic
// decomposition of Yeung, Poduval and Imani 2024.
//
//   ξ ← q;   steps times:  ξ ← softmax(β ξ Kᵀ) K;   o = softmax(β ξ Kᵀ) V
//   energy_i = −lse_i / β + ln(Tk) / β + ½ |ξ_i|² + ½ max_j |k_j|²        never rises
//
// A head stops after an update that changed its weights by no more than `tol` in Frobenius norm. Zero steps are softmax attention.
// Time (steps + 1)·Tq·Tk·D; the test for the end makes the scores of both states once more.
#pragma once

#include <attenta/variants/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

struct HopfieldInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct HopfieldOptions {
    std::int64_t steps = 1;
    std::optional<float> scale = {};  ///< β, default 1/sqrt(D)
    float tol = 0;

    static void fields(auto&& visit, auto& o) {
        visit("steps", o.steps, "updates of the state, 0: softmax attention");
        visit("scale", o.scale, "beta, default 1/sqrt(D)");
        visit("tol", o.tol, "a head stops after a smaller change of its weights");
    }
};

/// Beside o and lse, of the last scores; without data an output is not wanted.
struct HopfieldOutputs : SoftmaxOutputs {
    Heads<float> state = {};        ///< [Hq, Tq, D] ξ
    std::int64_t* steps = nullptr;  ///< [Hq] updates that were done
    float* energy = nullptr;        ///< [Hq, Tq]; needs a scale that is not 0
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void hopfield(const HopfieldInputs& x, const HopfieldOutputs& out, const HopfieldOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/memory/hopfield.inl>
#include <attenta/variants/memory/hopfield_kernels.inl>
#endif
