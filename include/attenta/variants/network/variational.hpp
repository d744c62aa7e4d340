// Attention as a latent alignment: weights are the prior of a hidden choice of key, and outputs are what a predictor says of it. Deng,
// Kim, Chiu, Guo, Rush 2018, "Latent Alignment and Variational Attention".
//
//   α_i = softmax_j(s_ij)   s: additive v_a·tanh(w_q q + w_k k), general qᵀ w_a k, dot; with top_k only the largest (ties stay)
//   predict(q, c) = log softmax(w_y tanh(w_c [q; c] + b_c) + b_y)
//   exact    log_p_i = log Σ_j α_ij exp predict(q_i, v_j)
//   soft     log_p_i = predict(q_i, Σ_j α_ij v_j)
//   argmax   log_p_i = predict(q_i, v of the largest weight)
//   sample   log_p_i = log of the mean over n draws of exp predict(q_i, v_j), j by inverse cumulative sums of u
//   posterior b = softmax(posterior):  kl_i = Σ_j b_ij (ln b_ij − ln α_ij),  elbo_i = Σ_j b_ij predict(q_i, v_j) − kl_i
//
// The first layer splits into halves of queries and of values. A row holds its own scores alone, its keys go through the predictor in
// blocks. Time exact Hq Tq Tk Dh Y, otherwise as additive attention.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class VariationalMode : std::uint8_t { exact, soft, argmax, sample };
constexpr std::array<std::string_view, 4> names_of(VariationalMode) { return {"exact", "soft", "argmax", "sample"}; }
enum class VariationalScore : std::uint8_t { additive, general, dot };
constexpr std::array<std::string_view, 3> names_of(VariationalScore) { return {"additive", "general", "dot"}; }

/// w_q, w_k, v_a belong to score additive, w_a to general, u to mode sample.
struct VariationalInputs {
    Heads<const float> q, k, v;
    Matrices<const float> w_c;
    std::span<const float> b_c;
    Matrices<const float> w_y;
    std::span<const float> b_y;
    Matrices<const float> w_q = {}, w_k = {};
    std::span<const float> v_a = {};
    Matrices<const float> w_a = {};
    Heads<const float> u = {}, posterior = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("k", x.k, "[Hkv, Tk, Dk]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("w_c", x.w_c, "[Dh, E]");
        visit("b_c", x.b_c, "[Dh]");
        visit("w_y", x.w_y, "[Y, Dh]");
        visit("b_y", x.b_y, "[Y]");
        visit("w_q", x.w_q, "[A, Dq]", Input::optional);
        visit("w_k", x.w_k, "[A, Dk]", Input::optional);
        visit("v_a", x.v_a, "[A]", Input::optional);
        visit("w_a", x.w_a, "[Dq, Dk]", Input::optional);
        visit("u", x.u, "[Hq, Tq, N]", Input::optional);
        visit("posterior", x.posterior, "[Hq, Tq, Tk]", Input::optional);
    }
};

struct VariationalOptions {
    VariationalMode mode = VariationalMode::exact;
    VariationalScore score = VariationalScore::additive;
    std::int64_t top_k = 0;  ///< keys with the largest scores that weigh; 0: all

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "exact, soft, argmax or sample");
        visit("score", o.score, "additive, general or dot");
        visit("top_k", o.top_k, "keys that weigh, 0: all");
    }
};

struct VariationalOutputs {
    Heads<float> o;            ///< [Hq, Tq, Dv] the soft context
    Heads<float> log_p;        ///< [Hq, Tq, Y]
    float* weights = nullptr;  ///< [Hq, Tq, Tk] α; or null
    std::int64_t* index =
        nullptr;             ///< [Hq, Tq, 1 or N] the keys of argmax and sample, -1 where α is not a number; or null
    Heads<float> elbo = {};  ///< [Hq, Tq, Y] with a posterior; or nothing
    float* kl = nullptr;     ///< [Hq, Tq] with a posterior; or null
};

/// Throws Error on shapes and options that do not fit and on u outside [0, 1); nothing is written then.
void variational(const VariationalInputs& x, const VariationalOutputs& out, const VariationalOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/select.inl>
#include <attenta/variants/network/pair_scores.hpp>
#include <attenta/variants/network/variational.inl>
#include <attenta/variants/network/variational_kernels.inl>
#endif
