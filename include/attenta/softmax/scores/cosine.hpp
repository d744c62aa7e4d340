// Attention with normalised queries and keys. "l2": Henry et al. 2020, Query-Key Normalization; "ngpt": Loshchilov et al. 2024,
// nGPT, eq. 15-16; "rms" and "layer": Dehghani et al. 2023 and later models.
//
//   unit(x) = x / max(|x|, eps)
//   ngpt    s = scale · (s_qk ⊙ unit(q)) · (s_qk ⊙ unit(k)),   scale sqrt(D)
//   l2      s = scale · unit(q) · unit(k),                     scale is required
//   rms     s = scale · rms(q) · rms(k),                       rms(x) = x / sqrt(mean x² + eps) ⊙ norm,  scale 1/sqrt(D)
//   layer   s = scale · layer(q) · layer(k),                   layer(x) = (x − mean) / sqrt(var + eps) ⊙ norm + bias
//
// Keys stay as they are, in any cache: their weights are folded into the queries and their norms, one number for each key,
// multiply the scores. (A mean of k falls out of q − mean q, a bias of k is a number for each query.) Norms cost one more pass
// over the keys; a decoder keeps them as k_gain and calls cosine_key_gain for its new tokens alone. Rotary positions are the
// caller's: nGPT rotates before, rms and layer models after the norm, and rotate a k that they have normalised themselves.
#pragma once

#include <attenta/softmax/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class CosineMethod : std::uint8_t { ngpt, l2, rms, layer };
constexpr std::array<std::string_view, 4> names_of(CosineMethod) { return {"ngpt", "l2", "rms", "layer"}; }

struct CosineInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> s_qk = {};                           ///< of ngpt
    Matrices<const float> q_norm = {}, k_norm = {};            ///< of rms and layer
    Matrices<const float> q_norm_bias = {}, k_norm_bias = {};  ///< of layer
    Matrices<const float> k_gain = {};  ///< [Hkv, Tk] what cosine_key_gain gives, where it is kept

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("s_qk", x.s_qk, "[Hkv, D]", Input::optional);
        visit("q_norm", x.q_norm, "[Hn, D]", Input::optional);
        visit("k_norm", x.k_norm, "[Hm, D]", Input::optional);
        visit("q_norm_bias", x.q_norm_bias, "[Hb, D]", Input::optional);
        visit("k_norm_bias", x.k_norm_bias, "[Hc, D]", Input::optional);
        visit("k_gain", x.k_gain, "[Hkv, N]", Input::optional);
    }
};

struct CosineOptions {
    CosineMethod method = CosineMethod::ngpt;
    std::optional<float> scale = {};  ///< default sqrt(D) of ngpt, 1/sqrt(D) of rms and layer; l2 needs one
    std::optional<float> eps = {};    ///< default 1e-12 of ngpt and l2, 1e-6 of rms and layer
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("method", o.method, "ngpt, l2, rms or layer");
        visit("scale", o.scale, "default sqrt(D) of ngpt, 1/sqrt(D) of rms and layer; l2 needs one");
        visit("eps", o.eps, "keeps norms from 0, default 1e-12, of rms and layer 1e-6");
        VisibleKeys::fields(visit, o.visibility);
    }
};

/// The norms' factors of keys first .. first + count − 1 of a cache in f32, bf16 or f16: gain[h · stride + first + i]. Throws
/// Error on sizes that do not fit.
void cosine_key_gain(const KvView& kv, std::int64_t first, std::int64_t count, float* gain, std::int64_t stride,
                     CosineMethod method, std::optional<float> eps = {}, Context& context = default_context());

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, on weights that the method lacks
/// or does not have; nothing is written then.
void cosine(const CosineInputs& x, const SoftmaxOutputs& out, const CosineOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/scores/cosine.inl>
#include <attenta/softmax/scores/cosine_kernels.inl>
#endif
