// Maps of rows, for every instruction set: features of linear attention and what models do to q and k before it.
// Each is a function of FeatureRow; its parameters are one of the structs below.
#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <array>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace features {

/// e^x, in units of 2^n for each channel of each K/V head, `exponents` [heads, dim]. Keys: e^x 2^-n. Queries:
/// e^x 2^(n - N), so that products of both carry 2^-N; N, which is returned, makes the row's largest feature about 1, but
/// is not below `least` nor above `most`.
struct Exp {
    const float* exponents = nullptr;
    std::int64_t group = 0;  ///< query heads of a K/V head; 0: rows are keys
    float least = -std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::infinity();
};
/// relu(x) cos θ, then relu(x) sin θ, θ = (π/2)(position + offset + 1) / length.
struct Cos {
    std::int64_t offset = 0, length = 1;
};
/// x / sqrt(Σ x² + eps)
struct L2Norm {
    float eps = 0;
};
/// Pairs of channels (2i, 2i+1) as complex numbers, turned by near[p % period] and far[p / period], p the position; then
/// times `factor`. Tables are [.., dim], pairs (cos, sin); null: no turn.
struct Rotate {
    static constexpr std::int64_t period = 32;
    const float *near = nullptr, *far = nullptr;
    float factor = 1;
};
/// e^(gain x − shift). The shift is 0, the row's largest gain x, or given for each head or for each channel of a head.
struct ShiftedExp {
    enum Shift : std::uint8_t { none, row, head, channel };
    float gain = 1;
    Shift shift = row;
    const float* shifts = nullptr;  ///< [heads] or [heads, dim]
};
/// Polynomials of q·k: of z, which is x less its center and times its factor, the products 1, z_a and, of the second
/// degree, z_a z_b for a <= b in the order of a; each times what its degree has, a < b times `pairs` besides.
struct Products {
    std::int64_t degree = 2;
    std::array<float, 3> factors = {1, 1, 1};
    float pairs = 1;                ///< 2 for queries, 1 for keys: the sum over all a and b is the square of q·k
    const float* center = nullptr;  ///< [heads, dim]; null: 0, or the row's mean with `center_row`
    bool center_row = false;
    const float* scale = nullptr;  ///< [heads]; null: 1, or what makes the row's variance 1 with `unit_variance`
    bool unit_variance = false;

    /// Of rows of `dim`; the largest integer where there are more than it counts.
    static constexpr std::int64_t count(std::int64_t dim, std::int64_t degree) {
        const std::int64_t pairs = dim % 2 == 0 ? saturating::multiply(dim / 2, saturating::add(dim, 1))
                                                : saturating::multiply(dim, dim / 2 + 1);
        return saturating::add(saturating::add(1, dim), degree == 2 ? pairs : 0);
    }
    /// How rows of queries and keys of `dim` multiply, where that can be told from those of the first degree.
    static scan::Polynomial polynomial(const Products& queries, const Products& keys, std::int64_t dim) {
        const auto &q = queries.factors, &k = keys.factors;
        const float linear = q[1] * k[1], square = q[2] * k[2] / (linear * linear);
        if (queries.degree != 2 || queries.pairs * keys.pairs != 2 || !is_finite(square)) return {};
        return {dim, q[0] * k[0], square};
    }
};
/// Random features, from p_m = c/τ w_m·(sigma x) with `weights` [features, dim], of which each head of K/V may have its own:
/// softmax: ratio (exp(p - c²|x|²/2 - top) + eps); relu: relu(ratio p) + eps; products: p; trig: ratio (sin y, cos y) with
/// y = p / (|x| + 1e-3), sines first.
struct Random {
    enum Kind : std::uint8_t { softmax, relu, products, trig };
    const float* weights = nullptr;
    Kind kind = softmax;
    float c = 1, ratio = 1, eps = 0;
    const float* per_head = nullptr;  ///< top of each head, for keys; null, for queries: the row's largest p
    float tau = 1;
    bool own_heads = false;                           ///< each head of K/V has its weights, and maybe sigma
    std::int64_t weight_stride = 0, head_stride = 0;  ///< of the weights; without own_heads their rows are dense
    std::int64_t group = 1;                           ///< heads of rows that share a head of the weights
    Heads<const float> sigma = {};                    ///< [heads, 1, dim] or nothing: 1
    Heads<const float> of_tokens = {};                ///< [heads, tokens]: a factor of each row's features; or nothing
};
/// x cos(θ p), then x sin(θ p), p = position + offset, θ [heads, 1, dim] of the row's state head; with `silu` of silu(x) in
/// place of x.
struct Lrpe {
    Heads<const float> theta = {};
    std::int64_t offset = 0;
    bool silu = false;
};

ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, elu1)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, relu)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, squared_relu)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, exp_features)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, softmax_features)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, cos_features)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, l2_norm)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, rotate)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, one_minus_exp)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, shifted_exp)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, product_features)
/// z of Products, [dim]; returns its length, no logarithm: for what is measured before a scan.
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, standardized)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, silu)
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, lrpe_features)
ATTENTA_DECLARE_KERNEL(scan::FeatureRowsFunction, random_features)

}  // namespace features

ATTENTA_END
