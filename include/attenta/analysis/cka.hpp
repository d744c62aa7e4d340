// How alike two sets of vectors of the same tokens are: centred kernel alignment, of each head. Kornblith et al. 2019, "Similarity of
// Neural Network Representations Revisited"; as used by Saritas and Yildiz 2025, "A Reproduction Study: The Kernel PCA Interpretation
// of Self-Attention".
//
//   align(K, L) = <C K C, C L C> / (|C K C| |C L C| + 1e-10), C = I − 11ᵀ / T
//   linear = align(X Xᵀ, Y Yᵀ),   gaussian = align(G_X, G_Y), G_ij = exp(−d_ij² / (2 σ²))
//   σ given, or for each side σ² = lower median of the positive squared distances d_ij²
//
// The linear one comes from covariances: time T·Dx·Dy. The Gaussian one takes T²·(Dx + Dy). In double precision; compiled library only.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct CkaInputs {
    Heads<const float> x, y;

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[H, T, Dx]");
        visit("y", in.y, "[H, T, Dy]");
    }
};

struct CkaOptions {
    std::optional<double> sigma = {};  ///< width of the kernels, above 0

    static void fields(auto&& visit, auto& o) {
        visit("sigma", o.sigma, "width of the kernels, default from the median");
    }
};

struct CkaOutputs {
    float *linear = nullptr, *gaussian = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("linear", out.linear, "[H]");
        visit("gaussian", out.gaussian, "[H]");
    }
};

/// Throws Error on shapes that do not fit, fewer than two tokens, a sigma that is not above 0, numbers that are not finite, and, without
/// sigma, points that are all equal; nothing is written then.
void cka(const CkaInputs& x, const CkaOutputs& out, const CkaOptions& options = {},
         Context& context = default_context());

}  // namespace analysis

ATTENTA_END
