// Channel attention: softmax attention between the channels of a map. Zamir et al. 2022, "Restormer"; with residual value guidance
// Wang et al. 2025, "FEAT: Full-Dimensional Efficient Attention Transformer for Medical Video Generation".
//
//   q̂, k̂: each channel divided by max(its norm over all positions, 1e-12);   heads are groups of C / G channels
//   A_h = softmax_row(temperature_h · q̂_h k̂_hᵀ) [C/G, C/G],   o_h = A_h v_h
//   residual ρ, alpha: v + alpha_0 ρ in place of v, and alpha_1 (ρ − v) added to o
//
// One pass over positions for q kᵀ and the norms, one for A v: linear in H·W. Cross-covariance attention (XCiT) is the same of
// transposed tokens. Time H·W·C²/G, memory C²/G.
#pragma once

#include <attenta/gating/common.hpp>

#include <span>

ATTENTA_BEGIN

/// After the projections and depth-wise convolutions. `residual` and `alpha` come together.
struct ChannelAttentionInputs {
    Heads<const float> q, k, v;
    std::span<const float> temperature;
    Heads<const float> residual = {};
    std::span<const float> alpha = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[C, H, W]");
        visit("k", x.k, "[C, H, W]");
        visit("v", x.v, "[C, H, W]");
        visit("temperature", x.temperature, "[G]");
        visit("residual", x.residual, "[C, H, W]", Input::optional);
        visit("alpha", x.alpha, "[A]", Input::optional);
    }
};

struct ChannelAttentionOptions {
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) { visit("check_data", o.check_data, "refuse NaN"); }
};

/// o [C, H, W]. A channel of zeros gives uniform weights. Throws Error on shapes that do not fit; nothing is written then.
void channel_attention(const ChannelAttentionInputs& x, Heads<float> o, const ChannelAttentionOptions& options = {},
                       Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/channel_attention.inl>
#endif
