// mLSTM, the matrix memory of xLSTM. Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", eq. 19-27.
//
//   lf = log sigmoid(gate_f), or gate_f;   m_t = max(lf_t + m_{t-1}, gate_i)
//   C_t = e^(lf + m_{t-1} − m_t) C_{t-1} + e^(gate_i − m_t) k_t v_tᵀ;   n_t likewise with k_t
//   o_t = C_tᵀ q_t / (max(|q_t·n_t|, e^(−m_t)) + eps),   k ← scale · k
//
//   Gated linear attention with a decay per token: a forget gate, an input gate that is an exponential, and a running logarithm m
//   of what both are relative to. Time T·D·Dv per head, state D·Dv + D + 1.
#pragma once

#include <attenta/linear/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class MlstmForget : std::uint8_t { sigmoid, log };
constexpr std::array<std::string_view, 2> names_of(MlstmForget) { return {"sigmoid", "log"}; }

/// gate_i is the logarithm of the input gate, of any sign; gate_f the logit of the forget gate, or with `log` its logarithm, <= 0.
struct MlstmInputs {
    Heads<const float> q, k, v, gate_i, gate_f;
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("gate_i", x.gate_i, "[H, T]");
        visit("gate_f", x.gate_f, "[H, T]");
    }
};

struct MlstmOptions {
    MlstmForget forget = MlstmForget::sigmoid;  ///< what gate_f is
    std::optional<float> scale = {};            ///< of k, default 1/sqrt(D); any finite value
    float eps = 0;                              ///< added to the denominator
    bool check_data = false;                    ///< refuse NaN anywhere and log forget gates above 0

    static void fields(auto&& visit, auto& o) {
        visit("forget", o.forget, "sigmoid or log: what gate_f is");
        visit("scale", o.scale, "factor of k, default 1/sqrt(D)");
        visit("eps", o.eps, "added to the denominator");
        visit("check_data", o.check_data, "refuse NaN and log forget gates above 0");
    }
};

/// o [H, T, Dv]. The state's normalizer is n [H, D], its key_max m [H], which starts at 0; a given state needs both.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void mlstm(const MlstmInputs& x, Heads<float> o, LinearState& state, const MlstmOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/mlstm.inl>
#include <attenta/linear/recurrent/mlstm_kernels.inl>
#endif
