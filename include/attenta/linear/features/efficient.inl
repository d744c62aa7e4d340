#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/efficient.hpp>
#include <attenta/linear/statistics_kernels.hpp>

#include <array>
#include <cmath>

ATTENTA_BEGIN

namespace detail {

/// C = Σ e^{k - m} v / Σ e^{k - m}, m the largest of a channel: of the past, whose C and log Σ e^k are known, and the keys.
class EfficientSoftmax {
public:
    EfficientSoftmax(Heads<const float> k, Context& context) : k_(k), context_(context), largest_(k.heads * k.dim) {}

    features::ShiftedExp key_map() const { return {1, features::ShiftedExp::channel, largest_.data()}; }

    /// Sums of the past, to which those of the keys will be added.
    void begin(LinearState& state) const {
        context_.executor().parallel_for(k_.heads, [&](std::int64_t h, int) {
            const bool past = state.weight[static_cast<std::size_t>(h)] != 0.f;
            const std::int64_t begin = h * k_.dim, end = begin + k_.dim;
            for (std::int64_t c = begin; c < end; ++c)
                largest_.data()[c] = past ? state.normalizer[static_cast<std::size_t>(c)] : lowest_float;
            raise_to_keys()(k_, h, 1, largest_.data() + begin);
            for (std::int64_t c = begin; c < end; ++c) {
                float& sum = state.normalizer[static_cast<std::size_t>(c)];
                sum = past ? std::exp(sum - largest_.data()[c]) : 0.f;
                scale(state, c, sum);
            }
        });
    }
    void end(LinearState& state) const {
        for (std::int64_t c = 0; c < k_.heads * k_.dim; ++c) {
            float& sum = state.normalizer[static_cast<std::size_t>(c)];
            scale(state, c, 1.f / sum);
            sum = largest_.data()[c] + std::log(sum);
        }
    }

private:
    static void scale(LinearState& state, std::int64_t channel, float factor) {
        float* const row = state.matrix.data() + channel * state.dim_v;
        for (std::int64_t i = 0; i < state.dim_v; ++i) row[i] *= factor;
    }

    const Heads<const float> k_;
    Context& context_;
    const InlineArray<float, 4096> largest_;
};

/// Each head's C times a power of the number of its keys.
inline void scale_by_count(LinearState& state, float exponent) {
    for (std::int64_t h = 0; h < state.heads; ++h) {
        const float n = state.weight[static_cast<std::size_t>(h)], factor = n > 0 ? std::pow(n, exponent) : 1.f;
        for (std::int64_t i = 0; i < state.dim * state.dim_v; ++i) state.of(h)[i] *= factor;
    }
}

/// 1/√n
struct EfficientScale {
    const float* counts;
    std::int64_t group;

    static float factor(const void* parameters, std::int64_t head, std::int64_t, float, float) {
        const auto& p = *static_cast<const EfficientScale*>(parameters);
        return 1.f / std::sqrt(p.counts[head / p.group]);
    }
};

}  // namespace detail

ATTENTA_INLINE void efficient(const EfficientInputs& x, Heads<float> o, LinearState& state,
                              const EfficientOptions& options, Context& context) {
    const auto& [q, k, v] = x;
    const bool softmax = options.normalization == EfficientNormalization::softmax;
    scan::Request r{.function = "efficient", .q = q, .k = k, .v = v};
    r.causal = false;
    r.lengths_differ = true;
    r.normalizer = softmax;
    detail::require_grouped_queries("efficient", q.heads, k.heads, v.heads);
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::require_weight("efficient", state);

    const detail::EfficientSoftmax sums({k.data, softmax ? k.heads : 0, k.tokens, k.dim, k.head_stride, k.token_stride},
                                        context);
    const features::ShiftedExp keys = sums.key_map();
    if (softmax) r.k_map = {features::shifted_exp(), &keys};
    if (softmax) r.q_map = {features::softmax_features()};
    scan::Request absorb = detail::keys_alone(r), read = detail::queries_alone(r);
    detail::begin_with_weight(std::array{absorb, read}, state, context);
    const detail::EfficientScale root{state.weight.data(), q.heads / k.heads};
    if (!softmax) read.finish = {&detail::EfficientScale::factor, &root};

    softmax ? sums.begin(state) : detail::scale_by_count(state, 0.5f);
    scan::run(absorb, {}, state, context);
    for (float& n : state.weight) n += static_cast<float>(k.tokens);
    softmax ? sums.end(state) : detail::scale_by_count(state, -0.5f);
    scan::run(read, o, state, context);
}

ATTENTA_END
