// Latte: tokens attend to latents, and latents to positions. Dolga et al. 2024, "Latent Attention for Linear Time Transformers".
//
//   p_i(l) = softmax over l of scale · q_il,   o_i = Σ_l p_i(l) Σ_j softmax over the keys j seen of (scale · k_jl) v_j
//
//   As a scan with a running maximum m of each latent:
//     m_t = max(m_{t-1}, scale · k_t),  S_t = diag(exp(m_{t-1} − m_t)) S_{t-1} + exp(scale · k_t − m_t) v_tᵀ,
//     n_t likewise without v,  o_t = S_tᵀ (p_t / n_t)
//   With a window (Latte Macchiato) q has one logit more, in front, whose share reads the newest `window` keys exactly:
//     o_i += p_i(0) Σ_{i − window < j <= i} softmax(window_q_i·window_k_j / sqrt(Dw)) v_j
//
//   Time T·L·Dv per head and window·(Dw + Dv) for each query, state L (Dv + 2).
#pragma once

#include <attenta/linear/common.hpp>
#include <attenta/softmax/softmax.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// Hkv divides Hq. Causal calls have Tq <= Tk: the first Tk − Tq keys are history. L latents, LW = L, with a window L + 1.
struct LatteInputs {
    Heads<const float> q, k, v, window_q = {}, window_k = {};
    static constexpr const char *output = "[Hq, Tq, Dv]", *state = "[Hkv, L, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, LW] or [Hq, Tq, L]");
        visit("k", x.k, "[Hkv, Tk, L]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("window_q", x.window_q, "[Hq, Tq, Dw]", Input::optional);
        visit("window_k", x.window_k, "[Hkv, Tk, Dw]", Input::optional);
    }
};

struct LatteOptions {
    bool causal = true;       ///< query i stands at Tk − Tq + i and reads keys up to its own
    float scale = 1;          ///< of the logits, any finite value
    std::int64_t window = 0;  ///< newest keys that are read exactly, the query's own among them; 0: none
    bool check_data = false;  ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i reads keys up to its own");
        visit("scale", o.scale, "factor of the logits");
        visit("window", o.window, "newest keys that are read exactly, 0: none");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]. The state has a normalizer [Hkv, L], n, and key_max [Hkv, L], m; a call with a window takes no state of
/// earlier keys, which its window would miss.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void latte(const LatteInputs& x, Heads<float> o, LinearState& state, const LatteOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/latte.inl>
#include <attenta/linear/features/latte_kernels.inl>
#endif
