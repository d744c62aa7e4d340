// Class semantics-based attention: features in time are gated per channel and per step, by gates learned from the class-rich
// features that they were encoded from. Sridhar et al. 2021, "Class Semantics-based Attention for Action Detection"; the inner
// networks and the fusion are not published, this is one reading.
//
//   g = σ(w_2 relu(w_1 mean_t(semantics) + b_1) + b_2) [C],   h_t = σ(w_4 relu(w_3 semantics_t + b_3) + b_4)
//   both: o = x ⊙ g + x ⊙ h, with `product` x ⊙ g ⊙ h;  channel: x ⊙ g;  time: x ⊙ h;  and x itself with `residual`
//
// Time C·L + M·(K·L + C) for L steps.
#pragma once

#include <attenta/gating/common.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class SemanticsMode : std::uint8_t { both, channel, time };
constexpr std::array<std::string_view, 3> names_of(SemanticsMode) { return {"both", "channel", "time"}; }
enum class SemanticsFuse : std::uint8_t { sum, product };
constexpr std::array<std::string_view, 2> names_of(SemanticsFuse) { return {"sum", "product"}; }

/// L steps; x has one row of positions. The gate of channels has w_1 .. b_2, that of time w_3 .. b_4.
struct ClassSemanticsInputs {
    Heads<const float> x;
    Matrices<const float> semantics, w_1 = {};
    std::span<const float> b_1 = {};
    Matrices<const float> w_2 = {};
    std::span<const float> b_2 = {};
    Matrices<const float> w_3 = {};
    std::span<const float> b_3 = {};
    Matrices<const float> w_4 = {};
    std::span<const float> b_4 = {};

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, O, L]");
        visit("semantics", x.semantics, "[K, L]");
        visit("w_1", x.w_1, "[M, K]", Input::optional);
        visit("b_1", x.b_1, "[M]", Input::optional);
        visit("w_2", x.w_2, "[C, M]", Input::optional);
        visit("b_2", x.b_2, "[C]", Input::optional);
        visit("w_3", x.w_3, "[N, K]", Input::optional);
        visit("b_3", x.b_3, "[N]", Input::optional);
        visit("w_4", x.w_4, "[O, N]", Input::optional);
        visit("b_4", x.b_4, "[O]", Input::optional);
    }
};

struct ClassSemanticsOutputs {
    Heads<float> o;                 ///< [C, 1, L]
    float* channel_gate = nullptr;  ///< [C], or null
    float* time_gate = nullptr;     ///< [L], or null
};

struct ClassSemanticsOptions {
    SemanticsMode mode = SemanticsMode::both;
    SemanticsFuse fuse = SemanticsFuse::sum;  ///< of the two gates
    bool residual = false;                    ///< add x
    bool check_data = false;                  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "gate channels, time, or both");
        visit("fuse", o.fuse, "sum or product of the two results");
        visit("residual", o.residual, "add x");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on shapes that do not fit and on weights that the mode needs or does not want; nothing is written then.
void class_semantics(const ClassSemanticsInputs& x, const ClassSemanticsOutputs& out,
                     const ClassSemanticsOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/class_semantics.inl>
#endif
