// Lightning attention (TransNormerLLM). Qin et al. 2024, "Various Lengths, Constant Speed", algorithm 3.
//
//   S_t = λ S_{t-1} + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t,   λ = exp(g) per head
#pragma once

#include <attenta/linear/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class LightningSlopes : std::uint8_t { geometric, linear };
constexpr std::array<std::string_view, 2> names_of(LightningSlopes) { return {"geometric", "linear"}; }

/// g is the natural logarithm of the decay, <= 0; default: lightning_decay of the output heads max(Hq, Hk, Hv). State heads
/// Hs = max(Hk, Hv, heads of g), output heads Ho = max(Hq, Hs).
struct LightningInputs {
    Heads<const float> q, k, v, g = {};
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs]", Input::optional | Input::gate);
    }
};

struct LightningOptions {
    float scale = 1;  ///< any finite value
    LightningSlopes slopes = LightningSlopes::geometric;
    std::int64_t layer = 0;                       ///< 0-based
    std::optional<std::int64_t> num_layers = {};  ///< empty: slopes do not depend on the layer
    bool check_data = false;                      ///< refuse NaN anywhere and gates above 0

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output");
        visit("slopes", o.slopes, "decays, where g is not given: geometric or linear");
        visit("layer", o.layer, "0-based layer");
        visit("num_layers", o.num_layers, "layers of the model, default no layer factor");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void lightning(const LightningInputs& x, Heads<float> o, LinearState& state, const LightningOptions& options = {},
               Context& context = default_context());

/// The decays g of `heads` heads by options.slopes, layer and num_layers. geometric: −s_h (1 − layer/(num_layers−1) + 1e-5)
/// with the ALiBi slopes s_h, as in the released code; linear: −(8h/H)(1 − layer/num_layers), the paper's eq. 10.
std::vector<float> lightning_decay(std::int64_t heads, const LightningOptions& options = {});

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/decay/lightning.inl>
#endif
