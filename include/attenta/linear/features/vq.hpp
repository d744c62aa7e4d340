// Vector-quantised attention (Transformer-VQ). Lingle 2024, "Transformer-VQ: Linear-Time Transformers via Vector Quantization".
//
//   z_j = the codeword nearest to k_j, the lowest index on ties;   R + 1 rows of rel, one for each distance d = i − j
//   s_ij = scale · ((q_i + bias_u)·ĉ_{z_j} + [d <= R] (q_i + bias_v)·rel_d),  j <= i
//   o_i = Σ_j exp(s_ij − lse_i) v_j
//
//   Keys further than R from a block of queries are read through their codewords, exactly: score scale (q + bias_u)·ĉ_s
//   + log count_s, value the mean of theirs. Time (R + S)·(D + Dv) for each query, S·D for each key to quantise.
#pragma once

#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// Either k or the shortcodes of all keys. Queries are the last Tq of Tk tokens.
struct VqInputs {
    Heads<const float> q, v, codebook, k = {};
    Heads<const std::int64_t> shortcodes = {};
    Heads<const float> bias_u = {}, bias_v = {}, rel = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("codebook", x.codebook, "[Hkv, TS, D]");
        visit("k", x.k, "[Hkv, Tk, D]", Input::optional);
        visit("shortcodes", x.shortcodes, "[Hkv, Tk]", Input::optional);
        visit("bias_u", x.bias_u, "[Hq, D]", Input::optional);
        visit("bias_v", x.bias_v, "[Hq, D]", Input::optional);
        visit("rel", x.rel, "[Hq, TR, D]", Input::optional);
    }
};

/// Outputs do not depend on block_size; mem_len says which keys the cache that is given back holds.
struct VqOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    std::int64_t block_size = 512;    ///< queries of a block of the model
    std::int64_t mem_len = 512;       ///< newest keys that are not in the cache, at least the largest distance of rel
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(D)");
        visit("block_size", o.block_size, "queries of a block of the model");
        visit("mem_len", o.mem_len, "newest keys that are not in the cache");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct VqOutputs {
    Heads<float> o;                      ///< [Hq, Tq, Dv]
    float* lse = nullptr;                ///< [Hq, Tq], natural logarithm; or null
    std::int64_t* shortcodes = nullptr;  ///< [Hkv, Tk]; or null
    float* cache_count = nullptr;        ///< [Hkv, S], keys before the newest mem_len with each codeword; or null
    float* cache_value = nullptr;        ///< [Hkv, S, Dv], the mean of their values, 0 without any; or null
};

/// Throws Error on shapes, shortcodes and options that do not fit; nothing is written then.
void vq(const VqInputs& x, const VqOutputs& out, const VqOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/vq.inl>
#endif
