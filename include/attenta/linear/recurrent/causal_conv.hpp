// Causal short convolution, depth-wise, in front of the mixing of Mamba (Gu and Dao 2023), Gated DeltaNet and Kimi delta
// attention (Yang et al. 2025).
//
//   o_t = act(bias + Σ_{n<W} weight_n ⊙ x_{t−(W−1)+n}),   o ← o + x with `residual`             per channel
//
//   Tap W − 1 meets the token itself. In front of the first token stands the state: the last W − 1 inputs of the past, the
//   oldest first. q, k and v of a layer are one call on channels side by side.
//
//   Time T·D·W per head, state (W − 1)·D. A token with a state is the decode step; cuts change no bit.
#pragma once

#include <attenta/linear/recurrent/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class ConvActivation : std::uint8_t { silu };
constexpr std::array<std::string_view, 1> names_of(ConvActivation) { return {"silu"}; }

/// Channels of all heads are independent: [T, channels] is the case H = 1. Frameworks keep weight as [channels, 1, W].
struct CausalConvInputs {
    Heads<const float> x, weight, bias = {};
    static constexpr const char *output = "[H, T, D]", *state = "[H, W-1, D]";

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[H, T, D]");
        visit("weight", x.weight, "[H, D, W]");
        visit("bias", x.bias, "[H, D]", Input::optional);
    }
};

struct CausalConvOptions {
    std::optional<ConvActivation> activation = {};     ///< none
    bool residual = false;                             ///< add x to the output
    std::optional<std::vector<std::int64_t>> at = {};  ///< counts 0 .. T of tokens, states after which are returned
    float* state_at = nullptr;                         ///< output [len(at), H, W-1, D]
    bool check_data = false;                           ///< refuse NaN anywhere

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "silu or null");
        visit("residual", o.residual, "add x to the output");
        visit("at", o.at, "counts of tokens, states after which are returned");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [H, T, D]. `state` [H, W-1, D] is read as the past and left as the last inputs; an empty one is zeros, and for W = 1 it
/// has no elements.
/// Throws Error on shapes that do not fit, counts outside 0 .. T, and on NaN with `check_data`; nothing is written then.
void causal_conv(const CausalConvInputs& x, Heads<float> o, LinearState& state, const CausalConvOptions& options = {},
                 Context& context = default_context());

/// Several sequences behind each other in the tokens of x, whose states [H, W-1, D] are slots of a pool: what a serving step
/// has, prefill and decode mixed. The numbers are those of a call for each sequence. `at` is not for them.
/// Throws Error as causal_conv does, on starts and slots that do not fit, and on a slot that is there twice.
void causal_conv_sequences(const CausalConvInputs& x, Heads<float> o, const elementwise::Sequences& sequences,
                           const CausalConvOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/causal_conv.inl>
#include <attenta/linear/recurrent/causal_conv_kernels.inl>
#endif
