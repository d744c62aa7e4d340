// Multi-head temporal latent attention: MLA whose cache is shorter in time, too. Deng, Woodland 2025, "Multi-head Temporal Latent
// Attention", section 4.
//
//   run(j) = floor(j / s),  g_j = sigmoid((W_c e(run(j)) + b_c)·(W_p c_j + b_p))     e the sinusoidal code of a run's number
//   ĉ_i = Σ of g_j c_j over j <= i in i's run;  query i sees ĉ and the rotary key at the end of each finished run, and its own
//   s_hij = scale · (q^n_hi·W^UK_h ĉ_j + q^r_hi·k^r_j),  o_hi = Σ_j softmax(s_hi)_j W^UV_h ĉ_j
//
// The cache has a row for each run, ceil(T / s) rows of R + Dr numbers. Prefill and decode are one function: it appends tokens
// and attends with the last Tq of them. Absorbed as in mla.
#pragma once

#include <attenta/latent/mla.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// Runs of `stride` tokens: their summed latents and newest rotary keys.
class MtlaCache {
public:
    MtlaCache() = default;
    /// Throws Error on sizes below 1 and an odd `latent`, which has no sinusoidal code.
    MtlaCache(std::int64_t latent, std::int64_t rope, std::int64_t stride);

    std::int64_t latent() const { return latent_; }
    std::int64_t rope() const { return rope_; }
    std::int64_t stride() const { return stride_; }
    std::int64_t tokens() const { return tokens_; }  ///< seen so far
    std::int64_t rows() const { return stride_ > 0 ? (tokens_ + stride_ - 1) / stride_ : 0; }
    /// Of a run, [latent + rope]: the latents of its tokens so far, each times its gate, then the rotary key of its newest token.
    const float* row(std::int64_t run) const { return rows_.data() + run * (latent_ + rope_); }

    /// The finished runs as keys and values of one head, at the positions of their last tokens. Valid until tokens are added.
    KvView finished() const;
    /// Adds one token, its latent times its gate.
    void add(const float* latent, float gate, const float* rotary_key);
    /// Room for tokens to come, so that adding them does not allocate.
    void reserve(std::int64_t tokens);

private:
    std::int64_t latent_ = 0, rope_ = 0, stride_ = 0, tokens_ = 0;
    std::vector<float> rows_;
    std::vector<std::int32_t> ends_;  ///< positions of the last tokens of runs
};

/// New tokens and the queries of the last Tq of them; the gate's little network.
struct MtlaInputs {
    Heads<const float> q_nope, q_pe;
    Matrices<const float> c_kv, k_pe;
    Heads<const float> w_uk, w_uv;
    Matrices<const float> w_c;
    std::span<const float> b_c;
    Matrices<const float> w_p;
    std::span<const float> b_p;

    static void list(auto&& visit, auto& x) {
        visit("q_nope", x.q_nope, "[Hq, Tq, Dn]");
        visit("q_pe", x.q_pe, "[Hq, Tq, Dr]");
        visit("c_kv", x.c_kv, "[N, R]");
        visit("k_pe", x.k_pe, "[N, Dr]");
        visit("w_uk", x.w_uk, "[Hq, Dn, R]");
        visit("w_uv", x.w_uv, "[Hq, Dv, R]");
        visit("w_c", x.w_c, "[Rh, R]");
        visit("b_c", x.b_c, "[Rh]");
        visit("w_p", x.w_p, "[Rh, R]");
        visit("b_p", x.b_p, "[Rh]");
    }
};

struct MtlaOptions {
    std::int64_t stride = 2;          ///< tokens of a run
    std::optional<float> scale = {};  ///< default 1/sqrt(Dn + Dr), above 0

    static void fields(auto&& visit, auto& o) {
        visit("stride", o.stride, "tokens of a run");
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(Dn + Dr)");
    }
};

/// Appends the tokens to the cache, which is empty or of these sizes, and writes o [Hq, Tq, Dv] and lse [Hq, Tq] of the last
/// Tq <= N of them. Throws Error on shapes and options that do not fit; nothing is written then.
void mtla(const MtlaInputs& x, const LatentOutputs& out, MtlaCache& cache, const MtlaOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/latent/mtla.inl>
#endif
