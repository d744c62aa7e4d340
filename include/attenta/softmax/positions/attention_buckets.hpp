// The model runs once for each of several rotary bases, and the runs' output scores are mixed. Chen et al. 2024, Fortify the
// Shortest Stave in Attention.
//
//   run n:  o_n = softmax(scale · R_{b_n}(q) R_{b_n}(k)ᵀ) v
//   mixed = Σ_n weight_n logits_n,   weight = softmax over runs of max_v logits[n, v]
//
// In the first layer the runs share q, k and v (batch 1), later they differ (batch B). As released, raw logits are mixed, not
// probabilities. Published bases: 10000, 15000, 17500, 18000, 19000, 20000.
#pragma once

#include <attenta/softmax/common.hpp>
#include <attenta/softmax/positions/rope.hpp>

#include <cstdint>
#include <optional>
#include <vector>

ATTENTA_BEGIN

struct AttentionBucketsInputs {
    HeadsBatch<const float> q;  ///< [1 or B, Hq, Tq, D], not rotated
    HeadsBatch<const float> k;  ///< [1 or B, Hkv, Tk, D]
    HeadsBatch<const float> v;  ///< [1 or B, Hkv, Tk, Dv]
};

struct AttentionBucketsOutputs {
    HeadsBatch<float> o;   ///< [B, Hq, Tq, Dv]
    float* lse = nullptr;  ///< [B, Hq, Tq], or null
};

struct AttentionBucketsOptions {
    std::vector<double> bases = {};  ///< [B]
    RopeLayout layout = RopeLayout::half;
    bool causal = true;
    std::optional<float> scale = {};            ///< default 1/sqrt(D)
    std::optional<std::int64_t> q_offset = {};  ///< position of query 0, default Tk − Tq

    static void fields(auto&& visit, auto& o) {
        visit("bases", o.bases, "of the frequencies of each run");
        visit("layout", o.layout, "pairs are halves or neighbours");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
    }
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void attention_buckets(const AttentionBucketsInputs& x, const AttentionBucketsOutputs& out,
                       const AttentionBucketsOptions& options, Context& context = default_context());

/// weight [B] and mixed [V] of logits [B, V]. Throws Error on shapes that do not fit; nothing is written then.
void mix_bucket_logits(const Matrices<const float>& logits, std::span<float> weight, std::span<float> mixed,
                       Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/attention_buckets.inl>
#include <attenta/softmax/positions/attention_buckets_kernels.inl>
#endif
