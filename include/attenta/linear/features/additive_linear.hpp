// Linear additive attention: tokens scored by a vector per head, pooled, and multiplied element by element. Wu et al. 2021,
// "Fastformer: Additive Attention Can Be All You Need"; LadaGAN: Morales-Juarez and Fuentes-Pineda 2024, "Efficient
// generative adversarial networks using linear additive-attention Transformers".
//
//   α_h = softmax_t(scale (query_weight_h · q^cat_t + query_bias_h)),   q̄_h = Σ_t α_ht q_ht
//   lada:        o_hj = q̄_h ∘ k_hj ∘ v_hj
//   fastformer:  p_hj = q̄_h ∘ k_hj,  β_h = softmax_j(scale (key_weight_h · p^cat_j + key_bias_h)),  k̄_h = Σ_j β_hj p_hj
//                u_hj = k̄_h ∘ v_hj,  u^cat_j <- transform_weight u^cat_j + transform_bias,   o_hj = u_hj + q_hj
//
//   x^cat_t has the heads of token t side by side, H·D numbers. A pooling is exact attention with one query per head, in
//   which a bias cancels. Not causal, no state. Time T·H·D per head and pooling; the transform T·H·D².
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class AdditiveMode : std::uint8_t { lada, fastformer };
constexpr std::array<std::string_view, 2> names_of(AdditiveMode) { return {"lada", "fastformer"}; }

/// W = H·D. lada has the first two weights alone; fastformer needs Tq = Tk and key_weight, and transforms where there is a transform_weight.
struct AdditiveLinearInputs {
    Heads<const float> q, k, v;
    Matrices<const float> query_weight;
    std::span<const float> query_bias = {};
    Matrices<const float> key_weight = {};
    std::span<const float> key_bias = {};
    Matrices<const float> transform_weight = {};
    std::span<const float> transform_bias = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, Tq, D]");
        visit("k", x.k, "[H, Tk, D]");
        visit("v", x.v, "[H, Tk, D]");
        visit("query_weight", x.query_weight, "[H, W]");
        visit("query_bias", x.query_bias, "[H]", Input::optional);
        visit("key_weight", x.key_weight, "[H, W]", Input::optional);
        visit("key_bias", x.key_bias, "[H]", Input::optional);
        visit("transform_weight", x.transform_weight, "[W, W]", Input::optional);
        visit("transform_bias", x.transform_bias, "[W]", Input::optional);
    }
};

/// Where results go; all but o may be null.
struct AdditiveLinearOutputs {
    Heads<float> o;                  ///< [H, Tk, D], a row for each key
    float* global_q = nullptr;       ///< q̄ [H, D]
    float* query_weights = nullptr;  ///< α [H, Tq]
    float* global_k = nullptr;       ///< k̄ [H, D], of fastformer
    float* key_weights = nullptr;    ///< β [H, Tk], of fastformer
};

struct AdditiveLinearOptions {
    AdditiveMode mode = AdditiveMode::lada;
    std::optional<float> scale = {};  ///< of the scores, default 1/sqrt(D); any finite value
    bool check_data = false;          ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "lada or fastformer");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void additive_linear(const AdditiveLinearInputs& x, const AdditiveLinearOutputs& out,
                     const AdditiveLinearOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/additive_linear.inl>
#endif
