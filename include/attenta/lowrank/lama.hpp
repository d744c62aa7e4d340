// LAMA: tokens scored against one context by a rank-one bilinear form per head, and pooled. Mehta et al. 2019, "Low Rank
// Factorization for Compact Multi-Head Self-Attention", eq. 3.13.
//
//   f_ht = φ((p_h · c) (q_h · x_t)),  φ = tanh or identity;   f_ht <- f_ht / sqrt(Σ_h' f_h't²)  with normalize_heads, 0 stays 0
//   a_h = softmax over t of f_h,   o_h = Σ_t a_ht x_t
//
// c is the context, by default the mean of the tokens. One vector per head comes of all tokens, so nothing is causal. Time
// T·Dx·H, two products.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class LamaActivation : std::uint8_t { tanh, linear };
constexpr std::array<std::string_view, 2> names_of(LamaActivation) { return {"tanh", "linear"}; }

struct LamaInputs {
    Matrices<const float> x, p_weight, q_weight;
    std::span<const float> context = {};

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[T, Dx]");
        visit("p_weight", in.p_weight, "[H, Dx]");
        visit("q_weight", in.q_weight, "[H, Dx]");
        visit("context", in.context, "[Dx]", Input::optional);
    }
};

struct LamaOptions {
    LamaActivation activation = LamaActivation::tanh;
    bool normalize_heads = true;  ///< scores of a token have length 1 over the heads
    bool check_data = false;      ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "tanh or linear: what scores pass");
        visit("normalize_heads", o.normalize_heads, "scores of a token have length 1 over the heads");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct LamaOutputs {
    Matrices<float> o;         ///< [H, Dx], one matrix
    float* weights = nullptr;  ///< [H, T]; or null
};

/// Throws Error on shapes that do not fit; nothing is written then.
void lama(const LamaInputs& x, const LamaOutputs& out, const LamaOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/lama.inl>
#endif
