// Residual attention: a map times one plus a mask, from the logits of a mask branch. Wang et al. 2017, "Residual Attention
// Network for Image Classification", eq. 3-6.
//
//   o = (1 + M) ⊙ x, or M ⊙ x without `residual`
//   mixed:   M = σ(m)
//   channel: M = m / (|m at the pixel over channels| + eps)
//   spatial: M = σ((m − mean_c) / (std_c + eps)), mean and standard deviation (of the population) of the channel
//
// Time H·W·C: one pass, with `spatial` two more over the logits.
#pragma once

#include <attenta/gating/common.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class ResidualActivation : std::uint8_t { mixed, channel, spatial };
constexpr std::array<std::string_view, 3> names_of(ResidualActivation) { return {"mixed", "channel", "spatial"}; }

struct ResidualAttentionInputs {
    Heads<const float> x, mask;  ///< the map, and the logits of its mask

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, H, W]");
        visit("mask", x.mask, "[C, H, W]");
    }
};

struct ResidualAttentionOptions {
    ResidualActivation activation = ResidualActivation::mixed;
    bool residual = true;     ///< 1 + M
    float eps = 0;            ///< at least 0; above it, where all logits of a pixel or a channel may be equal
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "mixed, channel or spatial");
        visit("residual", o.residual, "one plus the mask");
        visit("eps", o.eps, "added to the norm or the standard deviation");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [C, H, W]. With eps 0 a pixel whose logits all vanish, or a channel whose logits are all equal, is undefined: it becomes NaN.
/// Throws Error on shapes and options that do not fit; nothing is written then.
void residual_attention(const ResidualAttentionInputs& x, Heads<float> o, const ResidualAttentionOptions& options = {},
                        Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/residual_attention.inl>
#endif
