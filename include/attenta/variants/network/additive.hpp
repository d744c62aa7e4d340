// Additive attention. Bahdanau, Cho, Bengio 2015; Hermann et al. 2015, "Teaching Machines to Read and Comprehend" (attentive
// reader); Xu et al. 2015, "Show, Attend and Tell" (gate, hard attention).
//
//   s_ij = scale · v_a·tanh(W_q q_i + W_k k_j + b),  w_i = softmax_j(s_ij)
//   soft      o_i = Σ_j w_ij v_j
//   argmax    o_i = v of the largest weight, the first of several
//   sample    o_i = v_j, j the first key whose cumulative weight exceeds u_i, at most the last one that weighs
//   gate      β_i = σ(w_beta·q_i + b_beta),  o_i ← β_i o_i
//
// Halves W_q q and W_k k + b are those of tokens; a pair costs a division for every four channels (network/kernels.hpp). Time
// Hq Tq Tk A.
#pragma once

#include <attenta/softmax/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class AlignmentMode : std::uint8_t { soft, argmax, sample };
constexpr std::array<std::string_view, 3> names_of(AlignmentMode) { return {"soft", "argmax", "sample"}; }

struct AdditiveInputs {
    Heads<const float> q;
    Matrices<const float> w_q, w_k;
    std::span<const float> v_a;
    KvView kv;
    std::span<const float> b = {};
    Heads<const float> u = {};  ///< draws in [0, 1) of mode sample
    std::span<const float> w_beta = {}, b_beta = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("w_q", x.w_q, "[A, Dq]");
        visit("w_k", x.w_k, "[A, Dk]");
        visit("v_a", x.v_a, "[A]");
        visit("k", "v", x.kv, "[Hkv, Tk, Dk]", "[Hkv, Tk, Dv]");
        visit("b", x.b, "[A]", Input::optional);
        visit("u", x.u, "[Hq, Tq]", Input::optional);
        visit("w_beta", x.w_beta, "[Dq]", Input::optional);
        visit("b_beta", x.b_beta, "[1]", Input::optional);
    }
};

struct AdditiveOptions {
    AlignmentMode mode = AlignmentMode::soft;
    std::optional<float> scale = {};  ///< default 1
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "soft, argmax or sample");
        visit("scale", o.scale, "factor of the scores, default 1");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct AdditiveOutputs : SoftmaxOutputs {
    std::int64_t* index = nullptr;  ///< [Hq, Tq] the key of argmax and sample, -1 where there is none; or null
    float* beta = nullptr;          ///< [Hq, Tq] with w_beta; or null
};

/// o [Hq, Tq, Dv], 0 where a query sees no key; lse [Hq, Tq] of the scaled scores, or null. Throws Error on shapes and options
/// that do not fit, on u outside [0, 1), and on causal calls with more queries than keys; nothing is written then.
void additive(const AdditiveInputs& x, const AdditiveOutputs& out, const AdditiveOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/network/additive.inl>
#include <attenta/variants/network/pair_scores.hpp>
#endif
