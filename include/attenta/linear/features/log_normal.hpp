// Linear log-normal attention: exponential features whose gains give the weights the spread of softmax's. Nahshan et al. 2024, "Linear
// Log-Normal Attention with Unbiased Concentration".
//
//   σ = sqrt((σ_q² σ_k² − b) / 2a),  alpha = σ/σ_q,  beta = σ/σ_k;   σ_q, σ_k of all numbers of q and of k
//   φ(q_i) = exp(alpha q_i − max_d alpha q_id),   φ(k_j) = exp(beta k_j − K),  K the largest beta k of the head
//   lln_i  = Σ_j φ(q_i)·φ(k_j) v_j / (Σ_j φ(q_i)·φ(k_j) + eps)
//   o      = lln,  (lln + diag)/2,  r lln + p diag  or  r lln + (1 − r) diag
//
//   diag is softmax attention within blocks of block_size positions. Time T·(D·Dv + block·(D + Dv)) per head, state
//   D·(Dv + 1). As published, alpha and beta are measured in all of q and k, and K in all keys, which a causal call's first
//   queries should not know. To go on from a state or to stream give gains, and key_max or the state's.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class LogNormalDiag : std::uint8_t { none, average, learnable_scale, learnable_ratio };
constexpr std::array<std::string_view, 4> names_of(LogNormalDiag) {
    return {"none", "average", "learnable_scale", "learnable_ratio"};
}

/// Hkv divides Hq; causal calls have Tq <= Tk. key_max is K; default: that of the state, for an empty one the largest of
/// the call.
struct LogNormalInputs {
    Heads<const float> q, k, v, diag_r = {}, diag_p = {};
    std::span<const float> key_max = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("diag_r", x.diag_r, "[Hq, Dv]", Input::optional);
        visit("diag_p", x.diag_p, "[Hq, Dv]", Input::optional);
        visit("key_max", x.key_max, "[Hkv]", Input::optional);
    }
};

struct LogNormalOptions {
    bool causal = false;                         ///< query i stands at Tk − Tq + i and reads keys up to its own
    std::optional<float> alpha = {}, beta = {};  ///< both or neither; default: measured, see log_normal_gains
    float moment_a = 0.14855178144710912f, moment_b = -0.35487039130661086f;
    float eps = 1e-8f;
    LogNormalDiag diag = LogNormalDiag::average;
    std::optional<std::int64_t> block_size = {};  ///< default D
    bool check_data = false;                      ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("alpha", o.alpha, "gain of queries, default measured");
        visit("beta", o.beta, "gain of keys, default measured");
        visit("moment_a", o.moment_a, "a of the measured gains");
        visit("moment_b", o.moment_b, "b of the measured gains");
        visit("eps", o.eps, "added to the denominator");
        visit("diag", o.diag, "none, average, learnable_scale or learnable_ratio");
        visit("block_size", o.block_size, "positions of a block of diag, default D");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, D] and key_max [Hkv], whose units both are in.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void log_normal(const LogNormalInputs& x, Heads<float> o, LinearState& state, const LogNormalOptions& options = {},
                Context& context = default_context());

struct LogNormalGains {
    float alpha = 1, beta = 1;
};
/// The gains that a call would have: given, or of q and k, of whose numbers NaN and infinities do not count. Throws Error
/// where there are fewer than two numbers or no variance.
LogNormalGains log_normal_gains(Heads<const float> q, Heads<const float> k, const LogNormalOptions& options = {});

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/log_normal.inl>
#endif
