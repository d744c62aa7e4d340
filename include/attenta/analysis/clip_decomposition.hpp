// What each layer, head and image token writes into an image's representation. Gandelsman et al. 2024, "Interpreting CLIP's Image
// Representation via Text-Based Decomposition", eq. 4-8.
//
//   c_lnh = attn_lhn v_lhn W_O + b_O / (N H),   z = Σ_lnh c_lnh + Σ_m mlp_m,   M = 2 L + 1
//   μ = mean of z, σ = sqrt(variance of z + eps) over its channels
//   contribution_lnh = (norm_w (c_lnh − μ / (M N H)) / σ + norm_b / (M N H)) P / length
//   mlp_contribution_m = (norm_w (mlp_m − μ / M) / σ + norm_b / M) P / length
//   representation = the sum of all, a unit vector;   length = |(norm_w (z − μ) / σ + norm_b) P|
//
// z is the class token before the last norm; mlp_0 is its embedding. W_O, norm and P of a head are folded into one matrix Dv × e first:
// time L·H·Dv·e·(d + N).
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct ClipDecompositionInputs {
    DenseTensor<const float, 3> attn;  ///< weights of the class token
    DenseTensor<const float, 4> v, w_o;
    DenseTensor<const float, 2> b_o;
    DenseTensor<const float, 2> mlp;  ///< the class token's embedding, and what feed-forward layers add to it
    std::span<const float> norm_w, norm_b;
    DenseTensor<const float, 2> projection;

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[L, H, N]");
        visit("v", x.v, "[L, H, N, Dv]");
        visit("w_o", x.w_o, "[L, H, Dv, d]");
        visit("b_o", x.b_o, "[L, d]");
        visit("mlp", x.mlp, "[L+1, d]");
        visit("norm_w", x.norm_w, "[d]");
        visit("norm_b", x.norm_b, "[d]");
        visit("projection", x.projection, "[d, e]");
    }
};

struct ClipDecompositionOptions {
    double eps = 1e-5;  ///< of the last norm

    static void fields(auto&& visit, auto& o) { visit("eps", o.eps, "what keeps the last norm from 0"); }
};

struct ClipDecompositionOutputs {
    float *contributions = nullptr, *mlp_contributions = nullptr, *representation = nullptr, *length = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("contributions", out.contributions, "[L, N, H, e]");
        visit("mlp_contributions", out.mlp_contributions, "[L+1, e]");
        visit("representation", out.representation, "[e]");
        visit("length", out.length, "[1]");
    }
};

/// Throws Error on shapes and options that do not fit, numbers or a z that are not finite, a z without variance where eps is 0, and a
/// length of 0; nothing is written then.
void clip_decomposition(const ClipDecompositionInputs& x, const ClipDecompositionOutputs& out,
                        const ClipDecompositionOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/clip_decomposition.inl>
#endif
