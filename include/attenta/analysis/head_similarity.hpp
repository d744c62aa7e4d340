// How far apart the attention of heads is. Clark et al. 2019, "What Does BERT Look At?", section 6.
//
//   b = (1 − ε) a + ε / Tk,   js_xy = ½ Σ_ij b_x ln(b_x / m) + ½ Σ_ij b_y ln(b_y / m), m = (b_x + b_y) / 2, x and y of all L·H heads
//
// The Jensen-Shannon divergence summed over queries: symmetric, 0 on the diagonal, at most Tq ln 2. Of several texts the matrices add
// up. Half of the matrix is computed; time (L·H)²·Tq·Tk / 2.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct HeadSimilarityInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, Tq, Tk]"); }
};

struct HeadSimilarityOptions {
    double smoothing = 1e-3;  ///< share of the uniform weights, 0 to 1; 0 log 0 is 0

    static void fields(auto&& visit, auto& o) { visit("smoothing", o.smoothing, "share of the uniform weights"); }
};

struct HeadSimilarityOutputs {
    float* js = nullptr;

    static void list(auto&& visit, auto& out) { visit("js", out.js, "[LH, LH]"); }
    static void sizes(auto&& set, const HeadSimilarityInputs& x, const HeadSimilarityOptions&) {
        set("LH", x.attn.count(0, 2));
    }
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void head_similarity(const HeadSimilarityInputs& x, const HeadSimilarityOutputs& out,
                     const HeadSimilarityOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_similarity.inl>
#endif
