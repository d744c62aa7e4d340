// Triadic modulation (Co4): latent queries, keys and values modulate one another before the latents attend to the tokens. Adeel 2025,
// "Beyond Attention: Toward Machines with Intrinsic Higher Mental States".
//
//   MOD(R, C) = min(max(R² + 2R + C (1 + |R|), 0), 6) (relu6), or R + R C (product)
//   loops times, each with the newest values:
//     q ← MOD(q, ½ (mean_t k + mean_t v)),  k ← MOD(k, ½ (mean_l q + v)),  v ← MOD(v, ½ (mean_l q + k))
//   o = softmax(scale · q·k) v
//
// The author fixes no schedule; this order is that of a third party's implementation. Time loops (L + T) D, then L T D.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class Cooperation : std::uint8_t { relu6, product };
constexpr std::array<std::string_view, 2> names_of(Cooperation) { return {"relu6", "product"}; }

struct TriadicInputs {
    Heads<const float> q, k, v;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, TL, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
    }
};

struct TriadicOptions {
    Cooperation cooperation = Cooperation::relu6;
    std::int64_t loops = 1;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("cooperation", o.cooperation, "relu6 or product");
        visit("loops", o.loops, "rounds of modulation");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct TriadicOutputs {
    Heads<float> o;                                  ///< [H, TL, D]
    float* lse = nullptr;                            ///< [H, TL]; or null
    float *q = nullptr, *k = nullptr, *v = nullptr;  ///< [H, TL, D], [H, T, D] twice, after the last loop; or null
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void triadic(const TriadicInputs& x, const TriadicOutputs& out, const TriadicOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/variants/structured/kernels.inl>
#include <attenta/variants/structured/triadic.inl>
#endif
