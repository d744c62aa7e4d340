// Bidirectional weighted key-value. Duan et al. 2024, "Vision-RWKV"; Yang et al. 2024, "Restore-RWKV"; with residual values
// Wang et al. 2025, "FEAT: Full-Dimensional Efficient Attention Transformer for Medical Video Generation".
//
//   pass(k, v, w, u):  o_t = Σ_s e^{l_ts} v_s / Σ_s e^{l_ts},   l_ts = k_s − w (|t − s| − δ) for s ≠ t,   l_tt = k_t + u
//   v ← v + residual ⊙ alpha_0;  R passes, the odd ones column by column of a grid;  v ← v + (residual − v_given) ⊙ alpha_1;
//   o = sigmoid(r) ⊙ v
//
//   Sums from the left and from the right, each with a running maximum, and three terms under their joint maximum: time
//   R·T·D per head, no T × T matrix. Sums from the right are kept for every 16th token and made again in between.
//   The formula of the papers has δ = 1. The released kernels add 1e-6 to the denominator, and have δ = 0 up to 16 tokens.
#pragma once

#include <attenta/linear/recurrent/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

/// What is divided by the number of tokens: w and u, as the released code does, w alone, as it is printed, or nothing.
enum class WkvLengthNorm : std::uint8_t { both, w, none };
constexpr std::array<std::string_view, 3> names_of(WkvLengthNorm) { return {"both", "w", "none"}; }

/// w has any sign, r is before its sigmoid; residual and alpha come together. R passes.
struct BiWkvInputs {
    Heads<const float> k, v, w, u, r = {}, residual = {}, alpha = {};
    static constexpr const char* output = "[H, T, D]";

    static void list(auto&& visit, auto& x) {
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
        visit("w", x.w, "[R, H, D]");
        visit("u", x.u, "[R, H, D]");
        visit("r", x.r, "[H, T, D]", Input::optional);
        visit("residual", x.residual, "[H, T, D]", Input::optional);
        visit("alpha", x.alpha, "[2, H, D]", Input::optional);
    }
};

struct BiWkvOptions {
    std::int64_t distance_offset = 1;  ///< δ, 0 or 1
    WkvLengthNorm length_norm = WkvLengthNorm::both;
    std::optional<std::array<std::int64_t, 2>> grid = {};  ///< [rows, columns] of the tokens; several passes need it
    bool check_data = false;                               ///< refuse NaN anywhere

    static void fields(auto&& visit, auto& o) {
        visit("distance_offset", o.distance_offset, "1 or 0: where distances count from");
        visit("length_norm", o.length_norm, "what is divided by T: both w and u, w, none");
        visit("grid", o.grid, "[rows, columns] of the tokens, for more than one pass");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [H, T, D]. Not causal: there is no state.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void bi_wkv(const BiWkvInputs& x, Heads<float> o, const BiWkvOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/bi_wkv.inl>
#include <attenta/linear/recurrent/wkv_kernels.inl>
#endif
