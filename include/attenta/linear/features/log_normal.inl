#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/log_normal.hpp>
#include <attenta/linear/features/row_sums.hpp>
#include <attenta/linear/statistics_kernels.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Unbiased variance of all finite numbers of x.
inline double variance_of(const char* name, Heads<const float> x) {
    const InlineArray<double, 2 * 256> scratch(2 * x.dim);
    const auto [n, sum, squares] = moments()(x, scratch.data());
    const double variance = (squares - sum * sum / n) / (n - 1);
    if (n < 2 || !(variance > 0))
        fail("log_normal", std::string(name) + " has " + std::to_string(static_cast<std::int64_t>(n)) +
                               " numbers of variance " + std::to_string(n < 2 ? 0. : variance) +
                               ", measured gains need two that differ");
    return variance;
}

inline void check_log_normal(const LogNormalInputs& x, const LinearState& state, const LogNormalOptions& o) {
    const char* f = "log_normal";
    const auto text = [](auto n) { return std::to_string(n); };
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    require_not_negative(f, "eps", o.eps);
    for (const auto& [name, gain] :
         {std::pair{"alpha", o.alpha.value_or(1)}, {"beta", o.beta.value_or(1)}, {"moment_b", o.moment_b}})
        if (!is_finite(gain)) fail(f, std::string(name) + " is " + text(gain) + ", needs a finite number");
    if (o.alpha.has_value() != o.beta.has_value())
        fail(f, std::string(o.alpha ? "beta" : "alpha") + " is missing, needs both gains or neither");
    if (!is_finite(o.moment_a) || o.moment_a == 0)
        fail(f, "moment_a is " + text(o.moment_a) + ", needs a finite number other than 0");
    if (o.block_size && *o.block_size < 1) fail(f, "block_size is " + text(*o.block_size) + ", needs at least 1");
    if (!state.empty() && x.key_max.empty() && static_cast<std::int64_t>(state.key_max.size()) != x.k.heads)
        fail(f, "state.key_max has " + text(state.key_max.size()) + " elements, needs " + text(x.k.heads));
    if (o.diag == LogNormalDiag::none) return;
    if (!o.causal && x.q.tokens != x.k.tokens)
        fail(f, "q has " + text(x.q.tokens) + " tokens, diag needs the " + text(x.k.tokens) + " of k");
    if (o.diag == LogNormalDiag::average) return;
    if (!x.diag_r.data) fail(f, "diag_r is missing, diag needs it");
    if (!x.diag_p.data && o.diag == LogNormalDiag::learnable_scale) fail(f, "diag_p is missing, diag needs it");
}

/// Softmax attention within blocks of positions, [Hq, Tq, Dv].
inline void attend_blocks(const LogNormalInputs& x, const LogNormalOptions& options, Heads<float> o, Context& context) {
    SoftmaxOptions softmax;
    softmax.visible = Chunks{options.block_size.value_or(x.k.dim), 0, options.causal};
    softmax_attention(x.q, x.k, x.v, o, softmax, nullptr, context);
}

/// o = r o + p d and its like.
inline void mix_in(LogNormalDiag kind, const LogNormalInputs& x, Heads<const float> d, Heads<float> o,
                   Context& context) {
    context.executor().parallel_for(o.heads, [&](std::int64_t h, int) {
        const float *const r = x.diag_r.data ? x.diag_r.row(h, 0) : nullptr, *const p = x.diag_p.data
                                                                                            ? x.diag_p.row(h, 0)
                                                                                            : nullptr;
        for (std::int64_t t = 0; t < o.tokens; ++t) {
            float* const lln = o.row(h, t);
            const float* const diag = d.row(h, t);
            const RowProduct average[] = {{lln, nullptr, nullptr, 0.5f}, {diag, nullptr, nullptr, 0.5f}},
                             scale[] = {{lln, r}, {diag, p}}, ratio[] = {{lln, r}, {diag}, {diag, r, nullptr, -1}};
            if (kind == LogNormalDiag::average) sum_of_products()(average, 2, lln, o.dim);
            if (kind == LogNormalDiag::learnable_scale) sum_of_products()(scale, 2, lln, o.dim);
            if (kind == LogNormalDiag::learnable_ratio) sum_of_products()(ratio, 3, lln, o.dim);
        }
    });
}

/// K of each head: the largest beta k.
inline std::vector<float> largest_keys(Heads<const float> k, float beta) {
    std::vector<float> largest(static_cast<std::size_t>(k.heads)), channels(static_cast<std::size_t>(k.dim));
    for (std::int64_t h = 0; h < k.heads; ++h) {
        std::fill(channels.begin(), channels.end(), lowest_float);
        raise_to_keys()(k, h, beta, channels.data());
        const float top = *std::max_element(channels.begin(), channels.end());
        largest[static_cast<std::size_t>(h)] = top > lowest_float ? top : 0.f;
    }
    return largest;
}

}  // namespace detail

ATTENTA_INLINE LogNormalGains log_normal_gains(Heads<const float> q, Heads<const float> k,
                                               const LogNormalOptions& options) {
    if (options.alpha && options.beta) return {*options.alpha, *options.beta};
    const double of_q = detail::variance_of("q", q), of_k = detail::variance_of("k", k);
    const double square =
        (of_q * of_k - static_cast<double>(options.moment_b)) / (2 * static_cast<double>(options.moment_a));
    if (!(square >= 0) || !std::isfinite(square))
        fail("log_normal", "moment_a and moment_b make σ² " + std::to_string(square) + ", needs at least 0");
    return {static_cast<float>(std::sqrt(square / of_q)), static_cast<float>(std::sqrt(square / of_k))};
}

ATTENTA_INLINE void log_normal(const LogNormalInputs& x, Heads<float> o, LinearState& state,
                               const LogNormalOptions& options, Context& context) {
    scan::Request r{.function = "log_normal", .q = x.q, .k = x.k, .v = x.v};
    r.causal = options.causal;
    r.lengths_differ = true;
    r.normalizer = true;
    detail::check_log_normal(x, state, options);
    scan::check(r, InputList(x), o, state, options.check_data);

    const auto [alpha, beta] = log_normal_gains(x.q, x.k, options);
    std::vector<float> measured;
    if (x.key_max.empty() && state.empty()) measured = detail::largest_keys(x.k, beta);
    const float* const top = !x.key_max.empty() ? x.key_max.data()
                             : state.empty()    ? measured.data()
                                                : state.key_max.data();
    const features::ShiftedExp queries{alpha, features::ShiftedExp::row}, keys{beta, features::ShiftedExp::head, top};
    r.q_map = {features::shifted_exp(), &queries};
    r.k_map = {features::shifted_exp(), &keys};
    const detail::SumPlusEps denominators{options.eps};
    r.finish = {&detail::SumPlusEps::factor, &denominators};

    const bool mixed = options.diag != LogNormalDiag::none;
    std::vector<float> rows(mixed ? static_cast<std::size_t>(x.q.heads * x.q.tokens * x.v.dim) : 0), kept;
    const Heads<float> diag = hnd(rows.data(), x.q.heads, x.q.tokens, x.v.dim);
    if (mixed) detail::attend_blocks(x, options, diag, context);
    const auto heads = static_cast<std::size_t>(x.k.heads);
    if (state.key_max.size() != heads) kept.assign(top, top + x.k.heads);
    scan::run(r, o, state, context);
    if (mixed) detail::mix_in(options.diag, x, diag, o, context);
    if (top == state.key_max.data()) return;
    if (kept.empty())
        std::copy_n(top, heads, state.key_max.data());
    else
        state.key_max.swap(kept);
}

ATTENTA_END
