// Heads that need a long context are found query by query: near keys alone are read where they are expected to hold enough of the
// weight. Donhauser et al. 2025, "Unveiling Simplicities of Attention: Adaptive Long-Context Head Identification" (QAdA),
// section 4.
//
//   local L(i) = j <= i with j < sink or j > i − window;  N of the keys j <= i are not in it
//   near = log Σ_{L} exp(s_ij),  far = log N + scale · q·mean + scale² · qᵀ cov q / 2,  as if their scores were Gaussian
//   local share = 1 / (1 + exp(far − near));  all keys j <= i are read where it is below the threshold
//
// Time (sink + window)·(D + Dv) + D² per query and head, Tk·(D + Dv) where all keys are read.
#pragma once

#include <attenta/sparse/common.hpp>

ATTENTA_BEGIN

/// Mean and covariance, divided by the count, of keys that are not near: of this prompt's, or of another's.
struct HeadGatingInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> mean, cov;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("mean", x.mean, "[Hkv, D]");
        visit("cov", x.cov, "[Hkv, TD, D]");  // TD = D
    }
};

struct HeadGatingOptions {
    std::int64_t sink = 16;           ///< first keys, which are always read
    std::int64_t window = 1024;       ///< newest keys, which are always read, the query's own among them
    float threshold = 0.5f;           ///< least share of the weight that near keys must be expected to hold
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("sink", o.sink, "first keys, which are always read");
        visit("window", o.window, "newest keys, which are always read");
        visit("threshold", o.threshold, "least share of the weight that near keys must be expected to hold");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct HeadGatingOutputs : SparseOutputs {
    std::int64_t* long_context = nullptr;  ///< [Hq, Tq], 1 where all keys are read; or null
    float* local_share = nullptr;          ///< [Hq, Tq], what near keys are expected to hold; or null
};

/// Throws Error on shapes and options that do not fit, and on a cov that gives a negative variance; nothing is written then.
void head_gating(const HeadGatingInputs& x, const HeadGatingOutputs& out, const HeadGatingOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/content/head_gating.inl>
#endif
