// Pixel attention: every number of the map has a gate of its own, from a 1 x 1 convolution. Zhao et al. 2020, "Efficient Image
// Super-Resolution Using Pixel Attention".
//
//   gate: o = x ⊙ σ(W x + b);    convolution: o = w_4 * (w_3 * x ⊙ σ(W x + b))     * : a convolution, zero outside
//
// The gate is a product [C, C] x [C, H·W]. Time H·W·C², and 2·H·W·C²·n² with convolutions.
#pragma once

#include <attenta/gating/common.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class PixelAttentionMode : std::uint8_t { gate, convolution };
constexpr std::array<std::string_view, 2> names_of(PixelAttentionMode) { return {"gate", "convolution"}; }

/// NN = n², n odd, as frameworks keep the kernels; w_4 may have another n than w_3.
struct PixelAttentionInputs {
    Heads<const float> x;
    Matrices<const float> w;
    std::span<const float> b;
    Heads<const float> w_3 = {}, w_4 = {};  ///< for `convolution` alone

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, H, W]");
        visit("w", x.w, "[C, C]");
        visit("b", x.b, "[C]");
        visit("w_3", x.w_3, "[C, C, NN]", Input::optional);
        visit("w_4", x.w_4, "[C, C, MM]", Input::optional);
    }
};

struct PixelAttentionOptions {
    PixelAttentionMode mode = PixelAttentionMode::gate;
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "gate, or convolution: the gate stands between two of them");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [C, H, W]. Throws Error on shapes that do not fit, on kernels whose size is even, on kernels that are missing or not
/// wanted; nothing is written then.
void pixel_attention(const PixelAttentionInputs& x, Heads<float> o, const PixelAttentionOptions& options = {},
                     Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/pixel_attention.inl>
#endif
