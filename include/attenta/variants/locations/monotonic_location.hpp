// Monotonic location attention: every decoding step looks through a Gaussian over the places of the source, whose centre moves on
// from the mean place attended before. Ray Chowdhury, Caragea 2023, "Monotonic Location Attention for Length Generalization", after
// Dubois et al. 2020.
//
//   places x_j = j δ, δ = 1 / max(1, Tk − 1);  y = q_position;  σ = (relu(y·w_sigma) + 0.27) / Tk;  ρ = y w_rho
//   monotonic  μ = step(ρ) δ + past      step: sigmoid σ(5ρ), relu, controlled_relu b relu(ρ) + (1 − b) σ(5ρ) with
//                                        b = σ(step_bias), softstair, free ρ
//   simple     μ = leaky(softstair(ρ_0) δ + past + σ(ρ_1) at the very first step)
//   full       μ = leaky(softstair(ρ_0) δ + σ(ρ_1) past + σ(ρ_2))
//   softstair(x) = ⌊x⌋ + σ(stair_temperature (x − ⌊x⌋ − ½)),  leaky(x) = max(0.01 x, min(x, 1 + 0.01 x))
//   a_j = g_j / Σ_l (g_l + 1e-20),  g_j = exp(−(x_j − μ)² / (2σ²))
//   w = a, or with content m a + (1 − m) softmax(scale · q·k), m = σ(mix);  o = Σ_j w_j v_j
//   past ← Σ_j w_j x_j (mixed) or Σ_j a_j x_j (position)
//
// Steps follow each other by one number per head, so centres come first and outputs side by side. Only keys within some 14 σ of the
// nearest one weigh. Time Hq Tq σ Tk Dv, with content as softmax; state 1.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class LocationMode : std::uint8_t { monotonic, simple, full };
constexpr std::array<std::string_view, 3> names_of(LocationMode) { return {"monotonic", "simple", "full"}; }
enum class LocationStep : std::uint8_t { sigmoid, relu, controlled_relu, softstair, free };
constexpr std::array<std::string_view, 5> names_of(LocationStep) {
    return {"sigmoid", "relu", "controlled_relu", "softstair", "free"};
}
enum class LocationPast : std::uint8_t { mixed, position };
constexpr std::array<std::string_view, 2> names_of(LocationPast) { return {"mixed", "position"}; }

/// R is 1, 2 or 3 for monotonic, simple and full. Content is q, k and mix together.
struct MonotonicLocationInputs {
    Heads<const float> q_position, v;
    Matrices<const float> w_sigma;
    Heads<const float> w_rho;
    std::span<const float> step_bias = {};
    Heads<const float> q = {}, k = {};
    std::span<const float> mix = {};
    std::span<const float> state = {};

    static void list(auto&& visit, auto& x) {
        visit("q_position", x.q_position, "[Hq, Tq, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("w_sigma", x.w_sigma, "[Hq, D]");
        visit("w_rho", x.w_rho, "[Hq, D, R]");
        visit("step_bias", x.step_bias, "[1]", Input::optional);
        visit("q", x.q, "[Hq, Tq, Dc]", Input::optional);
        visit("k", x.k, "[Hkv, Tk, Dc]", Input::optional);
        visit("mix", x.mix, "[Tq]", Input::optional);
        visit("state", x.state, "[Hq]", Input::optional);
    }
};

struct MonotonicLocationOptions {
    LocationMode mode = LocationMode::monotonic;
    LocationStep step = LocationStep::sigmoid;
    LocationPast past = LocationPast::mixed;
    float stair_temperature = 20;
    std::optional<float> scale = {};  ///< of content, default 1/sqrt(Dc)

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "monotonic, simple or full: how the centre moves");
        visit("step", o.step, "sigmoid, relu, controlled_relu, softstair or free: steps of mode monotonic");
        visit("past", o.past, "mixed or position: which weights the next step starts from");
        visit("stair_temperature", o.stair_temperature, "steepness of the soft stairs");
        visit("scale", o.scale, "factor of q·k of content, default 1/sqrt(Dc)");
    }
};

struct MonotonicLocationOutputs {
    Heads<float> o;           ///< [Hq, Tq, Dv]
    float* centre = nullptr;  ///< [Hq, Tq] μ; or null
    float* state = nullptr;   ///< [Hq] the last past; or null
};

/// With a state a call goes on where another one ended. Throws Error on shapes and options that do not fit; nothing is written then.
void monotonic_location(const MonotonicLocationInputs& x, const MonotonicLocationOutputs& out,
                        const MonotonicLocationOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/variants/locations/kernels.inl>
#include <attenta/variants/locations/monotonic_location.inl>
#endif
