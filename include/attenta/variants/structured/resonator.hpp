// Resonator network: a bound vector is factorised, one codeword from each codebook. The update by attention: Yeung, Poduval and
// Imani 2024, "Self-Attention Based Semantic Decomposition in Vector Symbolic Architectures" (with a projection: one reading);
// the linear update: Frady, Kent, Olshausen and Sommer 2020, "Resonator Networks".
//
//   y_i = s ⊙ Π_{j≠i} conj(e_j),   c_m = Re⟨x_m, y_i⟩,   w = softmax(beta c) or c,   e_i ← P(Σ_m w_m x_m)
//   P: none; sign of the real part (0 of 0); phase z / |z| (0 of 0); l2: scaled to the norm √D
//
// `parallel`: all factors from the old estimates; `sequential`: each from the newest. Time steps·F·M·D. Iterations can be chaotic.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class ResonatorUpdate : std::uint8_t { attention, linear };
constexpr std::array<std::string_view, 2> names_of(ResonatorUpdate) { return {"attention", "linear"}; }
enum class ResonatorProjection : std::uint8_t { none, sign, phase, l2 };
constexpr std::array<std::string_view, 4> names_of(ResonatorProjection) { return {"none", "sign", "phase", "l2"}; }
enum class ResonatorOrder : std::uint8_t { parallel, sequential };
constexpr std::array<std::string_view, 2> names_of(ResonatorOrder) { return {"parallel", "sequential"}; }

/// Complex vectors come with imaginary parts in all of s, codebook and state. Without a state the first estimate is the sum of each
/// codebook, projected for sign and phase.
struct ResonatorInputs {
    std::span<const float> s;
    Heads<const float> codebook;
    std::span<const float> s_im = {};
    Heads<const float> codebook_im = {};
    Matrices<const float> state = {}, state_im = {};

    static void list(auto&& visit, auto& x) {
        visit("s", x.s, "[D]");
        visit("codebook", x.codebook, "[F, M, D]");
        visit("s_im", x.s_im, "[D]", Input::optional);
        visit("codebook_im", x.codebook_im, "[F, M, D]", Input::optional);
        visit("state", x.state, "[F, D]", Input::optional);
        visit("state_im", x.state_im, "[F, D]", Input::optional);
    }
};

struct ResonatorOutputs {
    Matrices<float> state;          ///< [F, D]
    Matrices<float> state_im = {};  ///< [F, D] of complex vectors
    float* weights = nullptr;       ///< [F, M] of the last update, or null
    std::int64_t* index = nullptr;  ///< [F] the first of the largest weights, or null
};

struct ResonatorOptions {
    ResonatorUpdate update = ResonatorUpdate::attention;
    ResonatorProjection projection = ResonatorProjection::none;
    ResonatorOrder order = ResonatorOrder::parallel;
    std::int64_t steps = 1;
    std::optional<float> beta = {};  ///< default 1/sqrt(D); finite
    bool check_data = false;         ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("update", o.update, "attention or linear");
        visit("projection", o.projection, "of estimates: none, sign, phase or l2");
        visit("order", o.order, "parallel or sequential");
        visit("steps", o.steps, "updates of all factors");
        visit("beta", o.beta, "factor of similarities, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on shapes and options that do not fit, and on imaginary parts that are given in part; nothing is written then.
void resonator(const ResonatorInputs& x, const ResonatorOutputs& out, const ResonatorOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense_maps.inl>
#include <attenta/variants/structured/resonator.inl>
#include <attenta/variants/structured/resonator_kernels.inl>
#endif
