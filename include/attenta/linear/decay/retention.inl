#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/decay/retention.hpp>

#include <algorithm>
#include <cmath>
#include <complex>

ATTENTA_BEGIN

namespace detail {

/// (cos, sin) of `count` positions first, first + by, .. for each θ, [count, D]: exact in double every 64 rows, turned on
/// from there.
inline void fill_rotations(std::span<const float> theta, std::int64_t first, std::int64_t by, std::int64_t count,
                           float* table) {
    const auto pairs = static_cast<std::int64_t>(theta.size());
    for (std::int64_t i = 0; i < pairs; ++i) {
        const auto at = [angle = static_cast<double>(theta[static_cast<std::size_t>(i)])](std::int64_t position) {
            const double turned = angle * static_cast<double>(position);
            return std::complex<double>(std::cos(turned), std::sin(turned));
        };
        std::complex<double> step, now;
        if (count > 1) step = at(by);
        for (std::int64_t t = 0; t < count; ++t) {
            now = t % 64 == 0 ? at(first + t * by) : now * step;
            table[2 * (t * pairs + i)] = static_cast<float>(now.real());
            table[2 * (t * pairs + i) + 1] = static_cast<float>(now.imag());
        }
    }
}

/// One head's sum of decays, n_t = γ n_{t-1} + 1, in closed form: γ^n n_0 + (γ^n − 1) / (γ − 1).
class DecaySum {
public:
    DecaySum() = default;
    DecaySum(double g, double start) : g_(g), start_(start), inverse_(g == 0 ? 0 : 1 / std::expm1(g)) {}
    double at(std::int64_t t) const {
        const auto n = static_cast<double>(t + 1);
        if (g_ == 0) return start_ + n;
        const double lost = std::expm1(g_ * n);
        return (1 + lost) * start_ + lost * inverse_;
    }

private:
    double g_ = 0, start_ = 0, inverse_ = 0;
};

/// What a row of retention is divided by, d_t of retention.hpp.
struct RetentionScores {
    RetentionNorm norm;
    const DecaySum* sums = nullptr;  ///< of state heads
    std::int64_t group = 1, first = 0;

    static float factor(const void* parameters, std::int64_t head, std::int64_t token, float sum, float) {
        const auto& p = *static_cast<const RetentionScores*>(parameters);
        const auto root = static_cast<float>(std::sqrt(p.sums[head / p.group].at(p.first + token)));
        if (p.norm == RetentionNorm::decay) return 1.f / root;
        return 1.f / (root * std::max(std::abs(sum) / root, 1.f));
    }
};

}  // namespace detail

namespace detail {

inline void fill_retention_decay(std::int64_t heads, float* g) {
    for (std::int64_t h = 0; h < heads; ++h)
        g[h] = static_cast<float>(std::log1p(-std::exp2(-5 - static_cast<double>(h))));
}

/// A checked call, in segments that share a table of rotations.
class Retention {
public:
    Retention(scan::Request& r, std::span<const float> theta, Heads<float> o, LinearState& state,
              const RetentionOptions& options, Context& context)
        : r_(r), theta_(theta), o_(o), state_(state), options_(options), context_(context), sums_(r.state_heads) {}

    void run() {
        prepare_weights();
        // The keys' scale may as well go to the values, k vᵀ is the same, and keys can be read where they lie; but the
        // normalizer sums scaled keys.
        const float scale = scale_or_default(options_.scale, r_.k.dim);
        const bool in_values = !r_.normalizer;
        if (in_values) r_.beta = {&scale, r_.state_heads, r_.k.tokens, 1, 0, 0};
        constexpr std::int64_t period = features::Rotate::period;
        const bool rotated = !theta_.empty();
        const std::int64_t tokens = r_.k.tokens, dim = r_.k.dim,
                           segment = rotated ? std::min(tokens, longest_segment) : tokens,
                           near_rows = std::min(segment, period), far_rows = ceil_div(segment, period);
        const InlineArray<float, 1024> table(rotated ? (near_rows + far_rows) * dim : 0);
        float *const near = rotated ? table.data() : nullptr, *const far = rotated ? near + near_rows * dim : nullptr;
        const features::Rotate q{near, far, 1}, k{near, far, in_values ? 1.f : scale};
        if (rotated) fill_rotations(theta_, 0, 1, near_rows, near);
        if (rotated) r_.q_map = {features::rotate(), &q};
        if (rotated || !in_values) r_.k_map = {features::rotate(), &k};
        take_memory();
        for (std::int64_t t = 0; t < tokens; t += segment) {
            const std::int64_t count = std::min(segment, tokens - t);
            if (rotated) fill_rotations(theta_, options_.offset + t, period, ceil_div(count, period), far);
            scores_.first = t;
            scan::run(part(t, count), o_.slice(t, count), state_, context_);
        }
        finish_weights(tokens);
    }

private:
    static constexpr std::int64_t longest_segment = 4096;  // bounds the table

    scan::Request part(std::int64_t begin, std::int64_t count) const {
        scan::Request r = tokens_of(r_, begin, count);
        r.beta.tokens = count;
        return r;
    }

    /// All that the segments need, before the first of them changes the state.
    void take_memory() {
        scan::reserve(r_, context_);
        std::vector<float> weight;
        const auto weights = static_cast<std::size_t>(r_.state_heads);
        const bool weighted = options_.score_norm != RetentionNorm::none && state_.weight.size() != weights;
        if (weighted) weight.resize(weights);
        scan::begin_state(r_, state_);
        if (weighted) state_.weight.swap(weight);
    }

    void prepare_weights() {
        if (options_.score_norm == RetentionNorm::none) return;
        for (std::int64_t h = 0; h < r_.state_heads; ++h)
            sums_.data()[h] =
                DecaySum(static_cast<double>(r_.g.row(h, 0)[0]),
                         state_.empty() ? 0. : static_cast<double>(state_.weight[static_cast<std::size_t>(h)]));
        scores_ = {options_.score_norm, sums_.data(), o_.heads / r_.state_heads, 0};
        r_.finish = {&RetentionScores::factor, &scores_};
    }

    void finish_weights(std::int64_t tokens) {
        if (options_.score_norm == RetentionNorm::none) return;
        for (std::size_t h = 0; h < state_.weight.size(); ++h)
            state_.weight[h] = static_cast<float>(sums_.data()[h].at(tokens - 1));
    }

    scan::Request& r_;
    const std::span<const float> theta_;
    const Heads<float> o_;
    LinearState& state_;
    const RetentionOptions& options_;
    Context& context_;
    const InlineArray<DecaySum, 128> sums_;
    RetentionScores scores_{};
};

inline void check_retention(const RetentionInputs& x, const LinearState& state, const RetentionOptions& options) {
    const auto text = [](auto n) { return std::to_string(n); };
    if (!x.theta.empty() && x.k.dim % 2 != 0)
        fail("retention", "k has " + text(x.k.dim) + " features, theta needs an even number");
    require_offset("retention", options.offset, x.k.tokens);
    if (options.scale && !is_finite(*options.scale))
        fail("retention", "scale is " + text(*options.scale) + ", needs a finite number");
    if (!state.empty() && options.score_norm != RetentionNorm::none &&
        static_cast<std::int64_t>(state.weight.size()) != state.heads)
        fail("retention", "state.weight has " + text(state.weight.size()) + " elements, needs " + text(state.heads));
}

}  // namespace detail

ATTENTA_INLINE std::vector<float> retention_decay(std::int64_t heads) {
    if (heads < 1) fail("retention_decay", "heads is " + std::to_string(heads) + ", needs at least 1");
    std::vector<float> g(static_cast<std::size_t>(heads));
    detail::fill_retention_decay(heads, g.data());
    return g;
}

ATTENTA_INLINE void retention(const RetentionInputs& x, Heads<float> o, LinearState& state,
                              const RetentionOptions& options, Context& context) {
    scan::Request r{.function = "retention", .q = x.q, .k = x.k, .v = x.v, .g = x.g};
    r.state_heads = detail::heads_with_decays(r);
    r.normalizer = options.score_norm == RetentionNorm::full;
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_retention(x, state, options);
    const detail::InlineArray<float, 128> decay(x.g.data ? 0 : r.state_heads);
    if (!x.g.data) {
        detail::fill_retention_decay(r.state_heads, decay.data());
        r.g = hnd(static_cast<const float*>(decay.data()), r.state_heads, 1, 1);
    }
    detail::Retention(r, x.theta, o, state, options, context).run();
}

ATTENTA_END
