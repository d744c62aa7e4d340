// Attention that pools a sentence with scores conditioned on features of its words. Margatina, Baziotis, Potamianos 2019,
// "Attention-based Conditioning Methods for External Knowledge Integration".
//
//   gate          c_t = σ(w_g f_t + b_g) ⊙ x_t
//   affine        c_t = x_t ⊙ (w_scale f_t + b_scale) + w_shift f_t + b_shift;  affine_tanh: its tanh
//   concat        c_t = [x_t; f_t], as released, or tanh(w_c [x_t; f_t] + b_c), the paper's hidden layer, where w_c is given
//   s_t = v_a·c_t + b_a,  w = softmax_t(s),  o = Σ_t w_t x_t
//
// Time T Dx F.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class Conditioning : std::uint8_t { gate, affine, affine_tanh, concat };
constexpr std::array<std::string_view, 4> names_of(Conditioning) { return {"gate", "affine", "affine_tanh", "concat"}; }

/// The weights of the mode are needed, others are not read; v_a is as wide as c_t.
struct ConditionedInputs {
    Matrices<const float> x, features;
    std::span<const float> v_a, b_a;
    Matrices<const float> w_g = {};
    std::span<const float> b_g = {};
    Matrices<const float> w_scale = {};
    std::span<const float> b_scale = {};
    Matrices<const float> w_shift = {};
    std::span<const float> b_shift = {};
    Matrices<const float> w_c = {};
    std::span<const float> b_c = {};

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[T, Dx]");
        visit("features", in.features, "[T, F]");
        visit("v_a", in.v_a, "[A]");
        visit("b_a", in.b_a, "[1]");
        visit("w_g", in.w_g, "[Dx, F]", Input::optional);
        visit("b_g", in.b_g, "[Dx]", Input::optional);
        visit("w_scale", in.w_scale, "[Dx, F]", Input::optional);
        visit("b_scale", in.b_scale, "[Dx]", Input::optional);
        visit("w_shift", in.w_shift, "[Dx, F]", Input::optional);
        visit("b_shift", in.b_shift, "[Dx]", Input::optional);
        visit("w_c", in.w_c, "[A, E]", Input::optional);
        visit("b_c", in.b_c, "[A]", Input::optional);
    }
};

struct ConditionedOptions {
    Conditioning mode = Conditioning::gate;

    static void fields(auto&& visit, auto& o) { visit("mode", o.mode, "gate, affine, affine_tanh or concat"); }
};

struct ConditionedOutputs {
    Heads<float> o;            ///< [1, 1, Dx]
    float* weights = nullptr;  ///< [T]; or null
    float* lse = nullptr;      ///< [1, 1]; or null
};

/// Throws Error on shapes that do not fit; nothing is written then.
void conditioned(const ConditionedInputs& x, const ConditionedOutputs& out, const ConditionedOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/variants/network/kernels.inl>
#include <attenta/variants/structured/conditioned.inl>
#include <attenta/variants/structured/kernels.inl>
#endif
