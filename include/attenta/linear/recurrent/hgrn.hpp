// HGRN, a gated linear recurrence. Qin et al. 2023, "Hierarchically Gated Recurrent Neural Network for Sequence Modeling".
//
//   h_t = exp(g_t) h_{t-1} + i_t,   o_t = h_t                per channel
//   i = v, or with the tied input gate i = (1 − exp g) v
//
//   Time T·D per head, state D. A token with a state is the decode step; cuts change no bit.
#pragma once

#include <attenta/linear/recurrent/common.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class HgrnInputGate : std::uint8_t { none, tied };
constexpr std::array<std::string_view, 2> names_of(HgrnInputGate) { return {"none", "tied"}; }

/// g is the natural logarithm of the gate, <= 0. The state is [H, 1, D].
struct HgrnInputs {
    Heads<const float> v, g;
    static constexpr const char *output = "[H, T, D]", *state = "[H, D]";

    static void list(auto&& visit, auto& x) {
        visit("v", x.v, "[H, T, D]");
        visit("g", x.g, "[H, T, D]", Input::gate);
    }
};

struct HgrnOptions {
    HgrnInputGate input_gate = HgrnInputGate::none;
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0

    static void fields(auto&& visit, auto& o) {
        visit("input_gate", o.input_gate, "none, or tied: v times 1 - exp(g)");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [H, T, D]. `state` is read as the past and left at the end of the tokens; an empty one becomes zeros.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void hgrn(const HgrnInputs& x, Heads<float> o, LinearState& state, const HgrnOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/hgrn.inl>
#include <attenta/linear/recurrent/hgrn_kernels.inl>
#endif
