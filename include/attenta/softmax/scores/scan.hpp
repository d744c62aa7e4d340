// Attention of one query over every prefix of the keys, as a recurrent network computes it. Feng et al. 2024, Attention as an
// RNN, sections 3.1-3.3 (Aaren).
//
//   s_j = scale · q·k_j,   o_t = Σ_{j≤t} exp(s_j) v_j / Σ_{j≤t} exp(s_j),   lse_t = ln of the denominator
//   state after token t:  m_t = max of the scores,  u_t = Σ exp(s_j − m_t),  w_t = Σ exp(s_j − m_t) v_j;   o_t = w_t / u_t
//
// A state that is given comes first, and that behind the last token is left, so sequences can be cut anywhere: one token is a
// step. Scores of all keys come first, then the running sums, channels side by side. The paper's score is the bare dot
// product: scale 1. Time Hq·T·(D + Dv), memory Hq·T.
#pragma once

#include <attenta/softmax/common.hpp>

#include <optional>
#include <span>

ATTENTA_BEGIN

struct ScanInputs {
    Matrices<const float> q;
    KvView kv;
    std::span<const float> m = {}, u = {};  ///< the past, all of it or nothing
    Matrices<const float> w = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
        visit("m", x.m, "[Hq]", Input::optional);
        visit("u", x.u, "[Hq]", Input::optional);
        visit("w", x.w, "[Hq, Dv]", Input::optional);
    }
};

struct ScanOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) { visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)"); }
};

struct ScanOutputs {
    Heads<float> o;                   ///< [Hq, T, Dv]
    float* lse = nullptr;             ///< [Hq, T], or null
    std::span<float> m = {}, u = {};  ///< [Hq] the state behind the last token, or nothing; may be that of the inputs
    Matrices<float> w = {};           ///< [Hq, Dv]
};

/// Throws Error on shapes and options that do not fit, on a state that is partly given, on u < 0 and on u = 0 with another m than
/// −inf; nothing is written then.
void scan_attention(const ScanInputs& x, const ScanOutputs& out, const ScanOptions& options = {},
                    Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/scores/scan.inl>
#include <attenta/softmax/scores/scan_kernels.inl>
#endif
