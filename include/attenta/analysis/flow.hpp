// How much of a position can come from an input token: maximum flow through the attention of the layers. Abnar and Zuidema 2020,
// "Quantifying Attention Flow in Transformers", section 3.
//
//   nodes: the tokens above each layer; an edge from (l + 1, i) to (l, j) has the capacity A_l[i, j] of rollout.hpp
//   flow_ij = maximum flow from (layer + 1, i) to (0, j), each pair on its own;   weights = flow / Σ_j flow, 0 where that is 0
//   relevance_j = max_i weights_ij
//
// One layer's flow is A_0, two layers' Σ_m min(A_1[i, m], A_0[m, j]); more are solved by blocking flows (Dinic 1970), whose number
// does not depend on the capacities. Time T² problems on (L + 1)·T nodes: T is at most 512 there.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct FlowInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, T, T]"); }
};

struct FlowOptions {
    double residual = 0.5;    ///< share of the residual connection, 0 to 1
    std::int64_t layer = -1;  ///< flow from above this layer, -1: the top one

    static void fields(auto&& visit, auto& o) {
        visit("residual", o.residual, "share of the residual connection");
        visit("layer", o.layer, "flow from above this layer, -1: the top one");
    }
};

struct FlowOutputs {
    float *flow = nullptr, *weights = nullptr, *relevance = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("flow", out.flow, "[T, T]");
        visit("weights", out.weights, "[T, T]");
        visit("relevance", out.relevance, "[T]");
    }
};

/// Throws Error on weights that are not square, negative or not finite, on options that do not fit, and on more than 512 tokens and
/// two layers; nothing is written then.
void flow(const FlowInputs& x, const FlowOutputs& out, const FlowOptions& options = {},
          Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/flow.inl>
#endif
