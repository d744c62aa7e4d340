// Nyströmformer: softmax attention through m landmarks, means of segments. Xiong et al. 2021, "Nyströmformer: A Nyström-Based
// Algorithm for Approximating Self-Attention", eq. 13-15.
//
//   L_q, L_k  means of m contiguous segments of T // m tokens; the last T mod m segments have one token more
//   F = softmax(scale · q L_kᵀ),  A = softmax(scale · L_q L_kᵀ),  B = softmax(scale · L_q kᵀ)
//   Z_0 = Aᵀ / largest column sum of A,   Z <- 1/4 Z (13 I − A Z (15 I − A Z (7 I − A Z)))   `iterations` times
//   o = F Z B v + residual;   softmax attention itself where m = Tq = Tk
//   residual: o_i += Σ_c conv_weight[h, c] v[i + c − K // 2], zero outside
//
// The number of steps is part of the definition: where A is nearly singular Z is no inverse yet. B v and F (Z B v) are
// softmax attention of m queries and over m keys, and the last step of Z is applied to B v without being formed.
// Time T·m·(D + Dv) + m³ per step and head. Not causal.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

/// Over which heads the largest column sum is taken that starts the iteration.
enum class NystromInit : std::uint8_t { per_head, global };
constexpr std::array<std::string_view, 2> names_of(NystromInit) { return {"per_head", "global"}; }

struct NystromInputs {
    Heads<const float> q, k, v, conv_weight = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("conv_weight", x.conv_weight, "[Hq, K]", Input::optional);
    }
};

struct NystromOptions {
    std::int64_t landmarks = 64;  ///< m, 1 to the smaller of Tq and Tk
    std::int64_t iterations = 6;
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    NystromInit init = NystromInit::per_head;
    bool check_data = false;  ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("landmarks", o.landmarks, "segments of the queries and of the keys");
        visit("iterations", o.iterations, "steps towards the inverse of A");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("init", o.init, "per_head or global: whose largest column sum starts the steps");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. Throws Error on shapes and options that do not fit, a residual needs an odd K and Tq = Tk; nothing is
/// written then.
void nystrom(const NystromInputs& x, Heads<float> o, const NystromOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/nystrom.inl>
#endif
