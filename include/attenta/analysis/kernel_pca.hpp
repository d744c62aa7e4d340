// The claim that attention is kernel PCA of the keys, as numbers to judge it by. Saritas and Yildiz 2025, "A Reproduction Study: The Kernel
// PCA Interpretation of Self-Attention Fails Under Scrutiny"; the claim is Teo and Nguyen 2024.
//
//   z(x) = (x − mean) / (std_{n−1} + 1e-8) over the channels of q and of k, if standardised
//   K = exp(scale k kᵀ),   g = K 1,   K_φ = K / (g gᵀ + 1e-6) elementwise,   K_c = C K_φ C, C = I − 11ᵀ / T
//   K_c = U diag(λ) Uᵀ by |λ|, descending, the first `components` kept;   eigenvalues = |λ|
//   V̂ = diag(1/g) C U: values as the claim has them, columns up to sign
//   linear_cka, gaussian_cka of v and V̂ as in cka.hpp, for the linear one each side divided by its root mean square
//   query_norm_i = exp(scale q_i·q_i) / (Σ_j exp(scale q_i·k_j))²,   output_norm_i = |o_i|², o the softmax attention of q, k, v
//   error = mean_i |query_norm_i − output_norm_i|
//
// Sums of exponentials stay logarithms. Time H·T³, in double precision; compiled library only.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct KernelPcaInputs {
    Heads<const float> q, k, v;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, Tq, D]");
        visit("k", x.k, "[H, Tk, D]");
        visit("v", x.v, "[H, Tk, Dv]");
    }
};

struct KernelPcaOptions {
    bool standardize = true;                      ///< q and k over their channels
    std::optional<double> scale = {};             ///< of q·k and k·k, not 0; default 1/sqrt(D)
    std::optional<std::int64_t> components = {};  ///< default D; Tk if they are fewer

    static void fields(auto&& visit, auto& o) {
        visit("standardize", o.standardize, "q and k are standardised over their channels");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("components", o.components, "principal axes, default D, at most Tk");
    }
};

struct KernelPcaOutputs {
    float *eigenvalues = nullptr, *query_norm = nullptr, *output_norm = nullptr, *error = nullptr,
          *linear_cka = nullptr, *gaussian_cka = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("eigenvalues", out.eigenvalues, "[H, C]");
        visit("query_norm", out.query_norm, "[H, Tq]");
        visit("output_norm", out.output_norm, "[H, Tq]");
        visit("error", out.error, "[H]");
        visit("linear_cka", out.linear_cka, "[H]");
        visit("gaussian_cka", out.gaussian_cka, "[H]");
    }
    static void sizes(auto&& set, const KernelPcaInputs& x, const KernelPcaOptions& o) {
        set("C", std::min(o.components.value_or(x.k.dim), x.k.tokens));
    }
};

/// Throws Error on shapes and options that do not fit, fewer than two keys, fewer than two channels to standardise, numbers that are
/// not finite, and, where gaussian_cka is wanted, values that are all equal; nothing is written then.
void kernel_pca(const KernelPcaInputs& x, const KernelPcaOutputs& out, const KernelPcaOptions& options = {},
                Context& context = default_context());

}  // namespace analysis

ATTENTA_END
