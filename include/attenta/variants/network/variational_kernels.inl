#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/network/variational_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace network {

namespace kernels {

inline constexpr float no_weight = -std::numeric_limits<float>::infinity();

/// ln Σ e^x; −∞ where all are.
template <class Arch>
float log_sum_of_row(const float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const float top = simd::row_max<Arch>(x, n);
    const B shift(top == no_weight ? 0.f : top);
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) sum = sum + simd::exp_nonpositive<Arch>(simd::load<Arch>(x + i) - shift);
    float rest = 0;
    if (i < n) {
        float tail[static_cast<std::size_t>(L)];
        simd::exp_nonpositive<Arch>(simd::load_part<Arch>(x + i, n - i) - shift).store_unaligned(tail);
        for (std::int64_t j = 0; j < n - i; ++j) rest += tail[j];
    }
    return (top == no_weight ? 0.f : top) + std::log(simd::reduce_add<Arch>(sum) + rest);
}

template <class Arch>
void prior_of_row(float* s, std::int64_t n, float least, float* weights) {
    using B = simd::Batch<Arch>;
    const B limit(least), hidden(no_weight);
    simd::map_row<Arch>(s, s, n, [&](B x) ATTENTA_FLATTEN { return xsimd::select(x < limit, hidden, x); });
    const B sum(log_sum_of_row<Arch>(s, n));
    simd::map_row<Arch>(s, s, n, [&](B x) ATTENTA_FLATTEN { return x - sum; });
    // Rounding may leave the log of a weight above 0.
    simd::map_row<Arch>(s, weights, n,
                        [](B x) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(simd::min<Arch>(B(0.f), x)); });
}

template <class Arch>
void log_softmax_of_row(float* x, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const B sum(log_sum_of_row<Arch>(x, n));
    simd::map_row<Arch>(x, x, n, [&](B y) ATTENTA_FLATTEN { return y - sum; });
}

template <class Arch>
float divergence_of_row(const float* a, const float* b, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const auto term = [](B x, B y) ATTENTA_FLATTEN {
        const B weight = simd::exp<Arch>(x);
        return xsimd::select(weight == B(0.f), B(0.f), weight * (x - y));
    };
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) sum = sum + term(simd::load<Arch>(a + i), simd::load<Arch>(b + i));
    float rest = 0;
    if (i < n) {
        float tail[static_cast<std::size_t>(L)];
        term(simd::load_part<Arch>(a + i, n - i), simd::load_part<Arch>(b + i, n - i)).store_unaligned(tail);
        for (std::int64_t j = 0; j < n - i; ++j) rest += tail[j];
    }
    return simd::reduce_add<Arch>(sum) + rest;
}

template <class Arch>
void hidden_rows(const float* query, const float* const* values, std::int64_t count, std::int64_t width,
                 float* hidden) {
    using B = simd::Batch<Arch>;
    for (std::int64_t p = 0; p < count; ++p) {
        float* const to = hidden + p * width;
        std::copy_n(query, width, to);
        simd::add_row<Arch>(to, values[p], width, 1.f);
        simd::map_row<Arch>(to, to, width, [](B x) ATTENTA_FLATTEN { return simd::tanh<Arch>(x); });
    }
}

/// The running sums of a vector of outcomes over the block's pairs.
template <class Arch, class Load, class Store>
ATTENTA_ALWAYS_INLINE void mix_outcomes(const Predictions& x, std::int64_t y, Load&& load, Store&& store) {
    using B = simd::Batch<Arch>;
    const auto log_joint = [&](std::int64_t p)
                               ATTENTA_FLATTEN { return load(x.logits + p * x.outcomes + y) + B(x.log_weights[p]); };
    if (x.log_weights) {
        const B before = load(x.top + y);
        B top = before;
        for (std::int64_t p = 0; p < x.count; ++p) {
            const B joint = log_joint(p);
            top = xsimd::select(joint > top, joint, top);
        }
        const B shift = xsimd::select(top == B(no_weight), B(0.f), top);
        B sum = load(x.sum + y) * simd::exp_nonpositive<Arch>(before - shift);
        for (std::int64_t p = 0; p < x.count; ++p) sum = sum + simd::exp_nonpositive<Arch>(log_joint(p) - shift);
        store(x.top + y, top);
        store(x.sum + y, sum);
    }
    if (x.log_posterior) {
        B expected = load(x.expected + y);
        for (std::int64_t p = 0; p < x.count; ++p)
            expected = simd::fma<Arch>(B(std::exp(x.log_posterior[p])), load(x.logits + p * x.outcomes + y), expected);
        store(x.expected + y, expected);
    }
}

template <class Arch>
void mix_predictions(const Predictions& x) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t p = 0; p < x.count; ++p) log_softmax_of_row<Arch>(x.logits + p * x.outcomes, x.outcomes);
    std::int64_t y = 0;
    for (; y + L <= x.outcomes; y += L)
        mix_outcomes<Arch>(
            x, y, [](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p); },
            [](float* p, B v) ATTENTA_FLATTEN { v.store_unaligned(p); });
    if (const std::int64_t n = x.outcomes - y; n > 0)
        mix_outcomes<Arch>(
            x, y, [n](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p, n); },
            [n](float* p, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(p, v, n); });
}

template <class Arch>
void finish_mixture(const float* top, const float* sum, float* to, std::int64_t n) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(sum, to, n, [](B x) ATTENTA_FLATTEN {
        return xsimd::select(x == B(0.f), B(no_weight), simd::log_with_complement<Arch>(x, B(1.f) - x));
    });
    simd::add_row<Arch>(to, top, n, 1.f);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(PriorOfRow, prior_of_row, &kernels::prior_of_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(LogSoftmaxOfRow, log_softmax_of_row, &kernels::log_softmax_of_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(DivergenceOfRow, divergence_of_row, &kernels::divergence_of_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(HiddenRows, hidden_rows, &kernels::hidden_rows<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MixPredictions, mix_predictions, &kernels::mix_predictions<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(FinishMixture, finish_mixture, &kernels::finish_mixture<simd::NativeArch>)

}  // namespace network

ATTENTA_END
