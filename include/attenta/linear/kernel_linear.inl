#pragma once

#include <attenta/engine/backend_table.hpp>
#include <attenta/engine/scan/row_maps.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/kernel_linear.hpp>

#include <algorithm>
#include <cmath>

ATTENTA_BEGIN

namespace detail {

/// 1 / (den + eps) or 1 / max(den, eps). Features of exp carry factors e^-c (query) and 2^-n (keys of a head), and so do
/// the sums; eps gets the same.
struct KernelDenominators {
    KernelDenominator kind;
    float eps, scale;
    const int* exponents = nullptr;  ///< n of each K/V head
    std::int64_t group = 1;

    static float factor(const void* parameters, std::int64_t head, std::int64_t, float sum, float log) {
        const auto& p = *static_cast<const KernelDenominators*>(parameters);
        const float eps = p.exponents ? std::ldexp(p.eps * std::exp(-log), -p.exponents[head / p.group]) : p.eps,
                    den = sum * p.scale;
        if (p.kind == KernelDenominator::clamp) return 1.f / std::max(den, eps);
        return den + eps == 0.f ? 0.f : 1.f / (den + eps);
    }
    /// Without a denominator the factors are given back.
    static float undo(const void* parameters, std::int64_t head, std::int64_t, float, float log) {
        const auto& p = *static_cast<const KernelDenominators*>(parameters);
        return std::ldexp(std::exp(log), p.exponents[head / p.group]);
    }
};

/// For each head an exponent n, so that 2^-n brings the largest feature of its keys, and of the state, to 2^86: sums of
/// values still fit, and keys down to e^-147 of the largest count. Powers of two, so that what keys come later changes
/// no bit of earlier results.
inline void find_exponents(Heads<const float> k, const LinearState& state, int* exponents) {
    constexpr float log2e = 1.44269504f, room = 86;
    for (std::int64_t h = 0; h < k.heads; ++h) {
        float top = -1000;  // NaN and infinities do not count
        for (std::int64_t t = 0; t < k.tokens; ++t)
            for (std::int64_t d = 0; d < k.dim; ++d)
                if (const float x = k.row(h, t)[d] * log2e; x > top && x < 1000) top = x;
        if (!state.empty())
            for (std::int64_t d = 0; d < state.dim; ++d)
                if (const float x = std::log2(state.normalizer[static_cast<std::size_t>(h * state.dim + d)]); x > top)
                    top = std::min(x, 128.f);
        exponents[h] = static_cast<int>(std::floor(top - room));
    }
}

/// Multiplies a state by 2^(sign · exponent) of each head.
inline void rescale(LinearState& state, const int* exponents, int sign) {
    if (state.empty()) return;
    for (std::int64_t h = 0; h < state.heads; ++h) {
        const int by = sign * exponents[h];
        for (std::int64_t i = 0; i < state.dim * state.dim_v; ++i) state.of(h)[i] = std::ldexp(state.of(h)[i], by);
        for (std::int64_t d = 0; d < state.dim; ++d) {
            float& z = state.normalizer[static_cast<std::size_t>(h * state.dim + d)];
            z = std::ldexp(z, by);
        }
    }
}

inline void check_kernel_linear(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                const KernelLinearOptions& options) {
    const char* f = "kernel_linear";
    require_grouped_queries(f, q.heads, k.heads, v.heads);
    require_not_negative(f, "eps", options.eps);
    if (options.normalize && options.denominator == KernelDenominator::clamp && options.eps == 0)
        fail(f, "eps is 0, clamp needs more");
    const std::int64_t last = options.offset + std::max(q.tokens, k.tokens);
    if (options.offset < 0) fail(f, "offset is " + std::to_string(options.offset) + ", needs at least 0");
    if (options.feature == KernelFeature::cos && options.cos_max_len && *options.cos_max_len < last)
        fail(f, "cos_max_len is " + std::to_string(*options.cos_max_len) + ", needs at least " + std::to_string(last));
}

inline scan::RowFunction function_of(KernelFeature feature) {
    const Backend& b = active_backend();
    switch (feature) {
        case KernelFeature::elu1:
            return b.elu1;
        case KernelFeature::relu:
            return b.relu;
        case KernelFeature::squared_relu:
            return b.squared_relu;
        case KernelFeature::exp:
            return b.exp_features;
        case KernelFeature::softmax:
            return b.softmax_features;
        case KernelFeature::cos:
            return b.cos_features;
        case KernelFeature::identity:
            break;
    }
    return nullptr;
}

}  // namespace detail

ATTENTA_INLINE void kernel_linear(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                                  LinearState& state, const KernelLinearOptions& options, Context& context) {
    const bool cosine = options.feature == KernelFeature::cos, exponential = options.feature == KernelFeature::exp;
    scan::Request r{.function = "kernel_linear", .q = q, .k = k, .v = v};
    r.features = cosine ? 2 * k.dim : 0;
    r.causal = options.causal;
    r.scale = options.scale;
    r.normalizer = true;
    detail::check_kernel_linear(q, k, v, options);
    scan::check(r, o, state, options.check_data);

    const std::int64_t length = options.cos_max_len.value_or(options.offset + std::max(q.tokens, k.tokens)),
                       first = options.causal ? k.tokens - q.tokens : 0;
    const row_maps::Cos cos_q{options.offset + first, length}, cos_k{options.offset, length};
    const detail::Numbers<int, 128> exponents(exponential ? k.heads : 0);
    if (exponential) detail::find_exponents(k, state, exponents.data());
    const row_maps::Exp exp_q{}, exp_k{exponents.data()};
    const scan::RowFunction map = detail::function_of(options.feature);
    r.q_map = {map, cosine ? static_cast<const void*>(&cos_q) : &exp_q};
    r.k_map = {map, cosine ? static_cast<const void*>(&cos_k) : &exp_k};
    const detail::KernelDenominators denominators{options.denominator, options.eps, options.scale,
                                                  exponential ? exponents.data() : nullptr, o.heads / k.heads};
    if (options.normalize) r.finish = {&detail::KernelDenominators::factor, &denominators};
    if (exponential && !options.normalize) r.finish = {&detail::KernelDenominators::undo, &denominators};
    if (exponential) detail::rescale(state, exponents.data(), -1);
    scan::run(r, o, state, context);
    if (exponential) detail::rescale(state, exponents.data(), 1);
}

ATTENTA_END
