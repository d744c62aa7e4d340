// What positions of a layer are composed of: attention rolled out over the layers below. Abnar and Zuidema 2020, "Quantifying Attention
// Flow in Transformers", section 3.
//
//   A_l = rownorm((1 − r) W_l + r I), W_l the mean over the heads of layer l
//   rollout_l = R_l = A_l R_{l−1},   head_rollout_lh = rownorm((1 − r) attn_lh + r I) R_{l−1},   R_{−1} = I
//   relevance_lj = max_i R_l[i, j]
//
// Time L·(H + 1)·T³, or L·T³ without head_rollout; L·H·T² for one row of the last layer.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct RolloutInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, T, T]"); }
};

struct RolloutOptions {
    double residual = 0.5;  ///< share of the residual connection, 0 to 1

    static void fields(auto&& visit, auto& o) { visit("residual", o.residual, "share of the residual connection"); }
};

struct RolloutOutputs {
    float *rollout = nullptr, *head_rollout = nullptr, *relevance = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("rollout", out.rollout, "[L, T, T]");
        visit("head_rollout", out.head_rollout, "[L, H, T, T]");
        visit("relevance", out.relevance, "[L, T]");
    }
};

/// Throws Error on weights that are not square and a residual outside [0, 1]; nothing is written then.
void rollout(const RolloutInputs& x, const RolloutOutputs& out, const RolloutOptions& options = {},
             Context& context = default_context());

/// Row `position` of the last layer's R alone, [T]: the row of I goes down through the layers. Throws Error as rollout does, on a
/// position outside the tokens and on a row of another size; nothing is written then.
void rollout_row(const RolloutInputs& x, std::int64_t position, std::span<float> row,
                 const RolloutOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/rollout.inl>
#endif
