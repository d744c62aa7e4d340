#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/features/fastmax.hpp>

#include <algorithm>
#include <cmath>

ATTENTA_BEGIN

namespace detail {

/// What a normalisation measures in all tokens of q or of k.
class FastmaxMeasures {
public:
    FastmaxMeasures(const char* name, Heads<const float> x, const FastmaxOptions& options, Context& context)
        : measured_(measures(options.normalize)),
          centered_(options.normalize == FastmaxNormalize::center_tokens),
          scale_(measured_ ? x.heads : 0),
          row_(measured_ ? x.heads * x.dim : 0),
          center_(centered_ ? x.heads * x.dim : 0),
          sum_(centered_ ? x.heads * x.dim : 0) {
        if (options.normalize == FastmaxNormalize::standardize) require_variance(name, x);
        if (!measured_) return;
        context.executor().parallel_for(x.heads, [&](std::int64_t h, int) {
            if (centered_) find_center(x, h);
            scale_.data()[h] = options.radius / largest_norm(x, h, products(options));
        });
        for (std::int64_t h = 0; h < x.heads; ++h)
            if (!is_finite(scale_.data()[h]))
                fail("fastmax", std::string(name) + " of head " + std::to_string(h) +
                                    " is 0 in all tokens, needs a number to normalise by");
    }

    features::Products products(const FastmaxOptions& options) const {
        return {.degree = options.degree,
                .center = centered_ ? center_.data() : nullptr,
                .center_row = options.normalize == FastmaxNormalize::center_features ||
                              options.normalize == FastmaxNormalize::standardize,
                .scale = measured_ ? scale_.data() : nullptr,
                .unit_variance = options.normalize == FastmaxNormalize::standardize};
    }

private:
    static bool measures(FastmaxNormalize n) {
        return n != FastmaxNormalize::none && n != FastmaxNormalize::standardize;
    }

    static void require_variance(const char* name, Heads<const float> x) {
        for (std::int64_t h = 0; h < x.heads; ++h)
            for (std::int64_t t = 0; t < x.tokens; ++t) {
                const float* const row = x.row(h, t);
                if (std::all_of(row, row + x.dim, [first = row[0]](float e) { return e == first; }))
                    fail("fastmax", std::string(name) + " of head " + std::to_string(h) + " token " +
                                        std::to_string(t) + " has equal numbers, needs a variance above 0");
            }
    }

    void find_center(Heads<const float> x, std::int64_t h) const {
        double* const sum = sum_.data() + h * x.dim;
        std::fill_n(sum, x.dim, 0.);
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t d = 0; d < x.dim; ++d) sum[d] += static_cast<double>(x.row(h, t)[d]);
        for (std::int64_t d = 0; d < x.dim; ++d)
            center_.data()[h * x.dim + d] = static_cast<float>(sum[d] / static_cast<double>(x.tokens));
    }

    /// Tokens with a NaN or an infinity spoil themselves alone; where there are no others, any length will do.
    float largest_norm(Heads<const float> x, std::int64_t h, features::Products p) const {
        p.scale = nullptr;
        float largest = -1;
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            const float norm = features::standardized()({&p, x.dim, x.dim, h, t}, x.row(h, t), row_.data() + h * x.dim);
            if (norm > largest && is_finite(norm)) largest = norm;
        }
        return largest < 0 ? 1 : largest;
    }

    const bool measured_, centered_;
    const InlineArray<float, 256> scale_;
    const InlineArray<float, 4096> row_, center_;
    const InlineArray<double, 4096> sum_;
};

/// 1 / the sum of the weights, which was made before.
struct FastmaxNorm {
    const float* norm = nullptr;
    std::int64_t tokens = 0;

    static float factor(const void* parameters, std::int64_t head, std::int64_t token, float, float) {
        const auto& p = *static_cast<const FastmaxNorm*>(parameters);
        return 1.f / p.norm[head * p.tokens + token];
    }
};

inline void check_fastmax(const FastmaxInputs& x, Heads<float> o, const FastmaxOptions& options) {
    const char* f = "fastmax";
    const auto number = [&](const std::string& name, float value) {
        if (!is_finite(value)) fail(f, name + " is " + std::to_string(value) + ", needs a finite number");
    };
    if (options.degree != 1 && options.degree != 2)
        fail(f, "degree is " + std::to_string(options.degree) + ", needs 1 or 2");
    if (!is_finite(options.radius) || options.radius <= 0)
        fail(f, "radius is " + std::to_string(options.radius) + ", needs a number above 0");
    number("scale", options.scale);
    number("scale²", options.scale * options.scale);
    for (const float c : options.coefficients) number("coefficients", c);
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    if (!options.norm) return;
    checks::check_pointer(f, "norm", options.norm, sizeof(float), true);
    const Bytes norm = bytes_of(hnd(options.norm, x.q.heads, x.q.tokens, 1));
    for (const auto& [name, bytes] :
         {std::pair{"q", bytes_of(x.q)}, {"k", bytes_of(x.k)}, {"v", bytes_of(x.v)}, {"o", bytes_of(o)}})
        if (norm.meets(bytes)) fail(f, std::string("norm overlaps ") + name + ", needs memory of its own");
}

}  // namespace detail

ATTENTA_INLINE void fastmax(const FastmaxInputs& x, Heads<float> o, LinearState& state, const FastmaxOptions& options,
                            Context& context) {
    scan::Request r{.function = "fastmax", .q = x.q, .k = x.k, .v = x.v};
    r.features = features::Products::count(x.k.dim, options.degree);
    r.causal = options.causal;
    r.lengths_differ = true;
    r.normalizer = true;
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_fastmax(x, o, options);

    const detail::FastmaxMeasures of_q("q", x.q, options, context), of_k("k", x.k, options, context);
    features::Products queries = of_q.products(options);
    const features::Products keys = of_k.products(options);
    const auto& c = options.coefficients;
    queries.factors = {c[0], c[1] * options.scale, c[2] * options.scale * options.scale};
    queries.pairs = 2;
    r.q_map = {features::product_features(), &queries};
    r.k_map = {features::product_features(), &keys};
    r.polynomial = features::Products::polynomial(queries, keys, x.k.dim);
    const detail::SumPlusEps sums;
    r.finish = {&detail::SumPlusEps::factor, &sums};
    if (!options.norm) return scan::run(r, o, state, context);

    const detail::FastmaxNorm norm{options.norm, x.q.tokens};
    const scan::Request empty = r;
    r.finish = {&detail::FastmaxNorm::factor, &norm};
    r.normalizer = false;
    for (const scan::Request& part : {detail::weights_alone(r), r}) scan::reserve(part, context);
    scan::begin_state(empty, state);
    detail::sum_weights(r, hnd(options.norm, x.q.heads, x.q.tokens, 1), state, context);
    scan::run(r, o, state, context);
}

ATTENTA_END
