// Based: linear attention by the Taylor polynomial of the exponential. Arora et al. 2024, "Simple linear attention
// language models balance the recall-throughput tradeoff".
//
//   s_ij = scale · q_i·k_j,   p_ij = 1 + s + s²/2,   o_i = Σ_{j<=i} p_ij v_j / (Σ_{j<=i} p_ij + eps)
//
//   p_ij is a product of features, the state a sum over keys of their products: φ(k) = [1, k_a, k_a k_b for a <= b].
//   Time T·F·Dv per head, state F·(Dv + 1), F = 1 + D + D(D + 1)/2; D is small, 16 in the paper.
//   Features sum up to what |q||k| makes of p: where that is far above that of q·k, digits are lost.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <optional>

ATTENTA_BEGIN

/// State heads Hs = max(Hk, Hv), output heads Ho = max(Hq, Hs); a tensor of h heads is read at h-index i / (H/h).
struct BasedInputs {
    Heads<const float> q, k, v;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
    }
};

struct BasedOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool normalize = true;            ///< without: a state needs no normalizer, but one that it has is carried along
    float eps = 1e-6f;
    bool check_data = false;  ///< refuse NaN anywhere, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("normalize", o.normalize, "divide by the sum of the weights");
        visit("eps", o.eps, "added to the denominator");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Ho, T, Dv]. The state has a normalizer [Hs, F]; neither carries `scale`.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void based(const BasedInputs& x, Heads<float> o, LinearState& state, const BasedOptions& options = {},
                  Context& context = default_context()) {
    detail::require_not_negative("based", "eps", options.eps);
    if (options.scale && !is_finite(*options.scale * *options.scale))
        fail("based", "scale is " + std::to_string(*options.scale) + ", needs a finite square");
    const float scale = detail::scale_or_default(options.scale, x.q.dim);
    const features::Products keys, queries{.factors = {1, scale, scale * scale / 2}, .pairs = 2};
    const detail::SumPlusEps denominators{options.eps};
    scan::Request r{.function = "based", .q = x.q, .k = x.k, .v = x.v};
    r.features = features::Products::count(x.k.dim, 2);
    r.q_map = {features::product_features(), &queries};
    r.k_map = {features::product_features(), &keys};
    r.polynomial = features::Products::polynomial(queries, keys, x.k.dim);
    r.normalizer = options.normalize || state.empty() || !state.normalizer.empty();
    if (options.normalize) r.finish = {&detail::SumPlusEps::factor, &denominators};
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
