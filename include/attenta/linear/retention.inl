#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/backend_table.hpp>
#include <attenta/engine/scan/row_maps.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/retention.hpp>

#include <algorithm>
#include <cmath>

ATTENTA_BEGIN

namespace detail {

/// Cosines and sines of a few angles, which are turned side by side.
struct Turning {
    static constexpr int most = 16;
    double c[most], s[most], step_c[most], step_s[most];

    void step() {
        for (int i = 0; i < most; ++i) {
            const double turned = c[i] * step_c[i] - s[i] * step_s[i];
            s[i] = s[i] * step_c[i] + c[i] * step_s[i];
            c[i] = turned;
        }
    }
};

/// Cosines and signed sines of positions first .. first + count - 1, [count, D] each: exact in double every 64 rows,
/// turned on from there.
inline void fill_rotations(std::span<const float> theta, std::int64_t first, std::int64_t count, float* cosines,
                           float* sines) {
    const auto pairs = static_cast<std::int64_t>(theta.size());
    for (std::int64_t i = 0; i < pairs; i += Turning::most) {
        const std::int64_t here = std::min<std::int64_t>(Turning::most, pairs - i);
        Turning angles{};
        for (std::int64_t t = 0; t < count; ++t) {
            for (std::int64_t j = 0; j < here && t % 64 == 0; ++j) {
                const double angle = theta[static_cast<std::size_t>(i + j)];
                angles.step_c[j] = std::cos(angle);
                angles.step_s[j] = std::sin(angle);
                angles.c[j] = std::cos(angle * static_cast<double>(first + t));
                angles.s[j] = std::sin(angle * static_cast<double>(first + t));
            }
            float *const cos = cosines + 2 * (t * pairs + i), *const sin = sines + 2 * (t * pairs + i);
            for (std::int64_t j = 0; j < here; ++j) {
                cos[2 * j] = cos[2 * j + 1] = static_cast<float>(angles.c[j]);
                sin[2 * j + 1] = static_cast<float>(angles.s[j]);
                sin[2 * j] = -sin[2 * j + 1];
            }
            angles.step();
        }
    }
}

/// One head's sum of decays, n_t = γ n_{t-1} + 1, in closed form: γ^n n_0 + (γ^n − 1) / (γ − 1).
class DecaySum {
public:
    DecaySum() = default;
    DecaySum(double g, double start) : g_(g), start_(start), inverse_(1 / std::expm1(g)) {}
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

/// A checked call, in segments whose rotations fit in a table.
class Retention {
public:
    Retention(scan::Request& r, Heads<float> o, LinearState& state, const RetentionOptions& options, Context& context)
        : r_(r), o_(o), state_(state), options_(options), context_(context), sums_(r.state_heads) {}

    void run() {
        prepare_weights();
        // The keys' scale may as well go to the values, k vᵀ is the same, and keys can be read where they lie; but the
        // normalizer sums scaled keys.
        const float scale = scale_or_default(options_.scale, r_.k.dim);
        const bool in_values = !r_.normalizer;
        if (in_values) r_.beta = {&scale, r_.state_heads, r_.k.tokens, 1, 0, 0};
        const scan::Request whole = r_;
        const std::int64_t tokens = whole.k.tokens,
                           segment = options_.theta.empty() ? tokens : std::min(tokens, longest_segment);
        const bool rotated = !options_.theta.empty();
        const Numbers<float, 1024> table(rotated ? 2 * segment * whole.k.dim : 0);
        for (std::int64_t t = 0; t < tokens; t += segment) {
            const std::int64_t count = std::min(segment, tokens - t);
            float *const cosines = table.data(), *const sines = cosines + segment * whole.k.dim;
            if (rotated) fill_rotations(options_.theta, options_.offset + t, count, cosines, sines);
            const row_maps::Rotate q{rotated ? cosines : nullptr, sines}, k{q.cos, sines, 0, in_values ? 1.f : scale};
            if (rotated) r_.q_map = {active_backend().rotate, &q};
            if (rotated || !in_values) r_.k_map = {active_backend().rotate, &k};
            r_.q = whole.q.slice(t, count);
            r_.k = whole.k.slice(t, count);
            r_.v = whole.v.slice(t, count);
            r_.beta.tokens = count;
            r_.tokens_after = tokens - t - count;
            scores_.first = t;
            scan::run(r_, o_.slice(t, count), state_, context_);
        }
        finish_weights(tokens);
    }

private:
    static constexpr std::int64_t longest_segment = 256;  // whose table stays in L2

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
        state_.weight.resize(static_cast<std::size_t>(r_.state_heads));
        for (std::size_t h = 0; h < state_.weight.size(); ++h)
            state_.weight[h] = static_cast<float>(sums_.data()[h].at(tokens - 1));
    }

    scan::Request& r_;
    const Heads<float> o_;
    LinearState& state_;
    const RetentionOptions& options_;
    Context& context_;
    const Numbers<DecaySum, 128> sums_;
    RetentionScores scores_{};
};

inline void check_retention(const scan::Request& r, const LinearState& state, const RetentionOptions& options) {
    const auto text = [](auto n) { return std::to_string(n); };
    const auto angles = static_cast<std::int64_t>(options.theta.size());
    if (!options.theta.empty() && r.k.dim % 2 != 0)
        fail("retention", "k has " + text(r.k.dim) + " features, theta needs an even number");
    if (!options.theta.empty() && angles != r.k.dim / 2)
        fail("retention", "theta has " + text(angles) + " elements, needs " + text(r.k.dim / 2));
    if (options.offset < 0) fail("retention", "offset is " + text(options.offset) + ", needs at least 0");
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

ATTENTA_INLINE void retention(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g,
                              Heads<float> o, LinearState& state, const RetentionOptions& options, Context& context) {
    const std::int64_t heads = std::max({std::int64_t{1}, q.heads, k.heads, v.heads});
    const detail::Numbers<float, 128> decay(g.data ? 0 : heads);
    if (!g.data) {
        detail::fill_retention_decay(heads, decay.data());
        g = hnd(static_cast<const float*>(decay.data()), heads, 1, 1);
    }
    scan::check_shape("retention", "g", g, g.heads, 1, 1);
    scan::Request r{.function = "retention", .q = q, .k = k, .v = v, .g = g};
    r.state_heads = std::max({k.heads, v.heads, g.heads});
    r.normalizer = options.score_norm == RetentionNorm::full;
    const scan::Named others[] = {{"theta", detail::tensor_of(options.theta)}};
    r.others = others;
    scan::check(r, o, state, options.check_data);
    detail::check_retention(r, state, options);
    detail::Retention(r, o, state, options, context).run();
}

ATTENTA_END
