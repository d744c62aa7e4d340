// Normalised attention. Richter and Wattenhofer 2020, Normalized Attention Without Probability Cage.
//
//   s_ij = scale · q_i·k_j;   μ_i and ν_i: mean and variance of a row over the keys that it sees
//   w_ij = gain_h (s_ij − μ_i) / den_i + bias_h,   o_i = Σ_j w_ij v_j
//
//   std        den = √ν + eps,   variance   den = √(ν + eps)
//
// A row is centred before it is squared: a variance far below μ² keeps its digits. Of one visible key the weight is the bias.
// Time as softmax, and the scores once through the cache.
#pragma once

#include <attenta/variants/common.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class NormalizedEps : std::uint8_t { std, variance };
constexpr std::array<std::string_view, 2> names_of(NormalizedEps) { return {"std", "variance"}; }

struct NormalizedInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const float> gain, bias;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("gain", x.gain, "[Hq]");
        visit("bias", x.bias, "[Hq]");
    }
};

struct NormalizedOptions {
    float eps = 1e-3f;
    NormalizedEps eps_at = NormalizedEps::std;
    float scale = 1;
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("eps", o.eps, "keeps a row without variance from division by 0, above 0");
        visit("eps_at", o.eps_at, "where it is added: to the standard deviation (std) or to the variance");
        visit("scale", o.scale, "factor of q·k");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// o [Hq, Tq, Dv]. Throws Error on shapes and options that do not fit; nothing is written then.
void normalized(const NormalizedInputs& x, const WeightedOutputs& out, const NormalizedOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/normalisers/normalized.inl>
#include <attenta/variants/normalisers/normalized_kernels.inl>
#endif
