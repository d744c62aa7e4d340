// Vectors that are added to, or put in place of, the outputs of chosen heads. Yin, Ye, Durrett 2024, "LoFiT"; inference-time
// intervention; function vectors (Todd et al. 2023) and multimodal task vectors; MimIC.
//
//   add      o_hi ← (1 + gain_n) ⊙ o_hi + strength · gate_ni · offset_n     head h is heads[n]
//   replace  o_hi ← strength · gate_ni · offset_n
//
// Time N rows Dv.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class OffsetMode : std::uint8_t { add, replace };
constexpr std::array<std::string_view, 2> names_of(OffsetMode) { return {"add", "replace"}; }

/// Without heads there is an offset for each head, without positions all rows change. Entries that come twice act twice. The gain
/// is of mode add alone.
struct HeadOffsetInputs {
    Matrices<const float> offset;
    std::span<const std::int64_t> heads = {}, positions = {};
    Matrices<const float> gain = {}, gate = {};

    static void list(auto&& visit, auto& x) {
        visit("offset", x.offset, "[N, Dv]");
        visit("heads", x.heads, "[N]", Input::optional);
        visit("positions", x.positions, "[P]", Input::optional);
        visit("gain", x.gain, "[N, Dv]", Input::optional);
        visit("gate", x.gate, "[N, L]", Input::optional);
    }
};

struct HeadOffsetOptions {
    OffsetMode mode = OffsetMode::add;
    float strength = 1;

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "add or replace");
        visit("strength", o.strength, "factor of the offsets");
    }
};

/// o [H, L, Dv] in and out. Throws Error on shapes and options that do not fit and on heads and positions out of range; nothing is
/// written then.
void head_offset(const HeadOffsetInputs& x, Heads<float> o, const HeadOffsetOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/variants/structured/head_offset.inl>
#include <attenta/variants/structured/kernels.inl>
#endif
