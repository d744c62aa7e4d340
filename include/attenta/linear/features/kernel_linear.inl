#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/kernel_linear.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

ATTENTA_BEGIN

namespace detail {

/// 1 / (den + eps) or 1 / max(den, eps). Weights of exp carry a factor 2^-log of their query, and so does their sum; eps
/// gets the same.
struct KernelDenominators {
    KernelDenominator kind;
    float eps, scale;
    bool exp;

    static float factor(const void* parameters, std::int64_t, std::int64_t, float sum, float log) {
        const auto& p = *static_cast<const KernelDenominators*>(parameters);
        const float eps = p.exp && p.eps > 0 ? p.eps * std::exp2(-log) : p.eps, den = sum * p.scale;
        if (p.kind == KernelDenominator::clamp) return 1.f / std::max(den, eps);
        return den + eps == 0.f ? 0.f : 1.f / (den + eps);
    }
    /// Without a denominator the factor is given back.
    static float undo(const void*, std::int64_t, std::int64_t, float, float log) { return std::exp2(log); }
};

/// Units of the features of exp, 2^n for each channel of each K/V head: keys, and the state with them, are brought to at
/// most 2^86, so that sums of values still fit and keys down to e^-147 of the channel's largest count. Powers of two, so
/// that what keys come later changes no bit of earlier results.
class ExpUnits {
public:
    ExpUnits(Heads<const float> k, const LinearState& state)
        : k_(k), channels_(k.heads * k.dim), numbers_(3 * channels_) {
        for (std::int64_t c = 0; c < channels_; ++c) top()[c] = state.empty() ? lowest : log_of_largest(state, c);
        std::fill_n(exponents(), channels_, 0.f);
    }

    /// The units n that the state is in.
    float* exponents() const { return numbers_.data(); }

    /// Takes up keys from `begin` on, those below `sure` and the next ones as long as no channel outgrows what it is
    /// there by more than 2^60: in units of its largest key, what a query sees before that key would be lost. Returns
    /// the end.
    std::int64_t take(std::int64_t begin, std::int64_t sure) {
        float* const limit = numbers_.data() + 2 * channels_;
        std::int64_t t = begin;
        for (; t < sure; ++t) raise(t);
        for (std::int64_t c = 0; c < channels_; ++c) limit[c] = top()[c] + 60;
        while (t < k_.tokens && !outgrows(t, limit)) raise(t++);
        return t;
    }

    /// Brings the state to units of the keys that were taken up, or back to 1.
    void turn(LinearState& state) const {
        for (std::int64_t c = 0; c < channels_; ++c) set(state, c, std::floor(top()[c] - 86));
    }
    void undo(LinearState& state) const {
        for (std::int64_t c = 0; c < channels_; ++c) set(state, c, 0);
    }

private:
    /// Binary logarithms: keys from e^-830 to e^830 count.
    static constexpr float log2e = 1.44269504f, lowest = -1200, highest = 1200;

    /// The largest of each channel.
    float* top() const { return numbers_.data() + channels_; }

    static float log_of_largest(const LinearState& state, std::int64_t channel) {
        float largest = state.normalizer.empty() ? 0.f : state.normalizer[static_cast<std::size_t>(channel)];
        for (std::int64_t i = 0; i < state.dim_v && !(largest > 0); ++i)
            largest = std::abs(state.of(0)[channel * state.dim_v + i]);
        return largest > 0 ? std::min(std::log2(largest), 128.f) : lowest;
    }

    void raise(std::int64_t t) const {
        for (std::int64_t h = 0; h < k_.heads; ++h) {
            const float* const row = k_.row(h, t);
            float* const largest = top() + h * k_.dim;
            for (std::int64_t d = 0; d < k_.dim; ++d) {
                const float x = row[d] * log2e, counts = x < highest ? x : lowest;  // NaN and infinities do not
                largest[d] = counts > largest[d] ? counts : largest[d];
            }
        }
    }

    bool outgrows(std::int64_t t, const float* limits) const {
        int channels = 0;
        for (std::int64_t h = 0; h < k_.heads; ++h) {
            const float *const row = k_.row(h, t), *const limit = limits + h * k_.dim;
            for (std::int64_t d = 0; d < k_.dim; ++d) {
                const float x = row[d] * log2e, counts = x < highest ? x : lowest;
                channels += counts > limit[d] ? 1 : 0;
            }
        }
        return channels > 0;
    }

    void set(LinearState& state, std::int64_t channel, float exponent) const {
        float by = std::exchange(exponents()[channel], exponent) - exponent;
        while (by != 0) {  // in steps that are floats
            const float step = std::clamp(by, -126.f, 126.f), factor = std::exp2(step);
            for (std::int64_t i = 0; i < state.dim_v; ++i) state.of(0)[channel * state.dim_v + i] *= factor;
            if (!state.normalizer.empty()) state.normalizer[static_cast<std::size_t>(channel)] *= factor;
            by -= step;
        }
    }

    const Heads<const float> k_;
    const std::int64_t channels_;
    const InlineArray<float, 3 * 4096> numbers_;
};

inline void check_kernel_linear(const KernelLinearInputs& x, const KernelLinearOptions& options) {
    const auto& [q, k, v] = x;
    const char* f = "kernel_linear";
    check_memory(f, "k", k);  // twice its features are to be counted
    require_grouped_queries(f, q.heads, k.heads, v.heads);
    require_not_negative(f, "eps", options.eps);
    if (options.normalize && options.denominator == KernelDenominator::clamp && options.eps == 0)
        fail(f, "eps is 0, clamp needs more");
    require_offset(f, options.offset, std::max(q.tokens, k.tokens));
    const std::int64_t last = options.offset + std::max(q.tokens, k.tokens);
    if (options.feature == KernelFeature::cos && options.cos_max_len && *options.cos_max_len < last)
        fail(f, "cos_max_len is " + std::to_string(*options.cos_max_len) + ", needs at least " + std::to_string(last));
}

inline scan::FeatureFunction function_of(KernelFeature feature) {
    switch (feature) {
        case KernelFeature::elu1:
            return features::elu1();
        case KernelFeature::relu:
            return features::relu();
        case KernelFeature::squared_relu:
            return features::squared_relu();
        case KernelFeature::softmax:
            return features::softmax_features();
        case KernelFeature::cos:
            return features::cos_features();
        case KernelFeature::exp:  // has parameters of its own, see run_exp
        case KernelFeature::identity:
            break;
    }
    return nullptr;
}

/// exp, in parts whose keys share units.
inline void run_exp(scan::Request r, Heads<float> o, LinearState& state, const KernelLinearOptions& options,
                    Context& context) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    ExpUnits units(r.k, state);
    // Between these limits eps 2^-N and 2^N are floats.
    const bool eps = options.normalize && options.eps > 0;
    const features::Exp keys{units.exponents()},
        queries{units.exponents(), r.q.heads / r.k.heads, eps || !options.normalize ? -100.f : -infinity,
                options.normalize ? infinity : 100.f};
    r.k_map = {features::exp_features(), &keys};
    r.q_map = {features::exp_features(), &queries};
    if (!options.normalize) r.finish = {&KernelDenominators::undo, nullptr};
    scan::reserve(r, context);
    scan::begin_state(r, state);

    const Heads<const float> q = r.q, k = r.k, v = r.v;
    const std::int64_t first = r.causal ? k.tokens - q.tokens : 0, sure = r.causal ? first + 1 : k.tokens;
    for (std::int64_t begin = 0, end = 0; begin < k.tokens; begin = end) {
        end = units.take(begin, std::max(begin + 1, sure));
        units.turn(state);
        const std::int64_t query = std::max<std::int64_t>(begin - first, 0),
                           queries_here = r.causal ? end - first - query : q.tokens;
        r.q = q.slice(query, queries_here);
        r.k = k.slice(begin, end - begin);
        r.v = v.slice(begin, end - begin);
        scan::run(r, o.slice(query, queries_here), state, context);
    }
    units.undo(state);
}

}  // namespace detail

ATTENTA_INLINE void kernel_linear(const KernelLinearInputs& x, Heads<float> o, LinearState& state,
                                  const KernelLinearOptions& options, Context& context) {
    const auto& [q, k, v] = x;
    const bool cosine = options.feature == KernelFeature::cos;
    detail::check_kernel_linear(x, options);
    scan::Request r{.function = "kernel_linear", .q = q, .k = k, .v = v};
    r.features = cosine ? 2 * k.dim : 0;
    r.causal = options.causal;
    r.lengths_differ = true;
    r.scale = options.scale;
    // A call that does not divide carries the sum along where there is one.
    r.normalizer = options.normalize || state.empty() || !state.normalizer.empty();
    scan::check(r, InputList(x), o, state, options.check_data);

    const detail::KernelDenominators denominators{options.denominator, options.eps, options.scale,
                                                  options.feature == KernelFeature::exp};
    if (options.normalize) r.finish = {&detail::KernelDenominators::factor, &denominators};
    if (options.feature == KernelFeature::exp) return detail::run_exp(r, o, state, options, context);
    const std::int64_t length = options.cos_max_len.value_or(options.offset + std::max(q.tokens, k.tokens)),
                       first = options.causal ? k.tokens - q.tokens : 0;
    const features::Cos cos_q{options.offset + first, length}, cos_k{options.offset, length};
    const scan::FeatureFunction map = detail::function_of(options.feature);
    r.q_map = {map, cosine ? &cos_q : nullptr};
    r.k_map = {map, cosine ? &cos_k : nullptr};
    scan::run(r, o, state, context);
}

ATTENTA_END
