// Attention whose outputs of heads are masked, moved or replaced. Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (mask); Wu
// et al. 2024, "Retrieval Head" (uniform); Yin et al. 2024, "LoFiT" (affine); Huang et al. 2024, "Multimodal Task Vectors" (replace);
// Jiang et al. 2025, "Mimic In-Context Learning for Multimodal Tasks" (shift).
//
//   mask     o' = head_mask_h o                     affine   o' = (1 + gain_h) o + bias_h
//   uniform  heads with head_mask 0 weigh all visible keys equally; others stay
//   replace  heads with head_mask 0 give bias_h; others stay
//   shift    o' = o + μ_i bias_h,   μ_i = 1 / (1 + exp(lse_i − z_i)),   z_i = gate_w_h · q_i + gate_b_h
//
// In the last row alone with positions = last. A head_mask of 0 gives 0, whatever o is. `uniform` is attention with queries of zeros:
// one pass, and a second one over these heads' keys if lse is wanted.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

namespace analysis {

enum class InterventionMode : std::uint8_t { mask, uniform, affine, replace, shift };
constexpr std::array<std::string_view, 5> names_of(InterventionMode) {
    return {"mask", "uniform", "affine", "replace", "shift"};
}

enum class InterventionRows : std::uint8_t { all, last };
constexpr std::array<std::string_view, 2> names_of(InterventionRows) { return {"all", "last"}; }

struct HeadInterventionInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const float> head_mask = {};  ///< mask, uniform, replace
    Matrices<const float> gain = {};        ///< affine
    Matrices<const float> bias = {};        ///< affine, replace, shift
    Matrices<const float> gate_w = {};      ///< shift
    std::span<const float> gate_b = {};     ///< shift

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("head_mask", x.head_mask, "[Hq]", Input::optional);
        visit("gain", x.gain, "[Hq, Dv]", Input::optional);
        visit("bias", x.bias, "[Hq, Dv]", Input::optional);
        visit("gate_w", x.gate_w, "[Hq, D]", Input::optional);
        visit("gate_b", x.gate_b, "[Hq]", Input::optional);
    }
};

struct HeadInterventionOptions {
    std::optional<InterventionMode> mode = {};  ///< needed
    InterventionRows positions = InterventionRows::all;
    bool causal = false;              ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};  ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "mask, uniform, affine, replace or shift, needed");
        visit("positions", o.positions, "all or last: the queries whose outputs are changed");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct HeadInterventionOutputs {
    Heads<float> o;
    float* lse = nullptr;  ///< of the scores as they were

    static void list(auto&& visit, auto& out) {
        visit("o", out.o, "[Hq, Tq, Dv]");
        visit("lse", out.lse, "[Hq, Tq]");
    }
};

/// Throws Error on shapes that do not fit, without a mode, and without a tensor of the mode; nothing is written then.
void head_intervention(const HeadInterventionInputs& x, const HeadInterventionOutputs& out,
                       const HeadInterventionOptions& options, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_intervention.inl>
#endif
