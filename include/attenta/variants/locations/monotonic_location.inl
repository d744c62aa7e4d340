#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/variants/locations/kernels.hpp>
#include <attenta/variants/locations/monotonic_location.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Where a step looks: keys from `first` on, with factors of their Gaussian weights and of the content's output.
struct LocationWindow {
    std::int64_t first = 0;
    locations::GaussianKeys keys;
    float factor = 0, keep = 0;
};

struct MonotonicLocationMemory {
    std::vector<float> sigma, rho, places, content_place, weights;
    std::vector<LocationWindow> windows;
};

inline void check_monotonic(const MonotonicLocationInputs& x, const MonotonicLocationOutputs& out,
                            const MonotonicLocationOptions& options) {
    const char* const f = "monotonic_location";
    LetterSizes known;
    known.set("1", 1);
    CheckedCall check(f, InputList(x), known);
    const std::int64_t heads = x.q_position.heads, queries = x.q_position.tokens;
    check.groups(x.q_position, x.v.heads);
    const std::int64_t needed = static_cast<std::int64_t>(options.mode) + 1;
    if (x.w_rho.dim != needed)
        check.refuse("w_rho has " + checks::text(x.w_rho.dim) + " columns, the mode needs " + checks::text(needed));
    if (options.mode == LocationMode::monotonic && options.step == LocationStep::controlled_relu && x.step_bias.empty())
        check.refuse("step_bias is null, step controlled_relu needs it");
    const int content = (x.q.data != nullptr) + (x.k.data != nullptr) + !x.mix.empty();
    if (content != 0 && content != 3)
        check.refuse(std::to_string(content) + " of q, k and mix are given, needs all or none");
    check.finite("stair_temperature", options.stair_temperature);
    check.finite("scale", options.scale);
    check.scratch("windows", heads, queries, 16);
    check.output("o", out.o, heads, queries, x.v.dim);
    check.output("centre", out.centre, heads, queries, 1);
    check.output("state", out.state, heads, 1, 1);
}

inline double location_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double location_relu(double x) { return x < 0 ? 0 : x; }

/// Centres of one head, step by step.
class LocationSteps {
public:
    LocationSteps(const MonotonicLocationInputs& x, const MonotonicLocationOptions& options)
        : x_(x), options_(options), keys_(x.v.tokens) {
        if (!x.step_bias.empty()) control_ = location_sigmoid(static_cast<double>(x.step_bias[0]));
    }

    double spacing() const { return 1 / static_cast<double>(std::max<std::int64_t>(1, keys_ - 1)); }

    /// μ of step i from its numbers rho.
    double centre(const float* rho, double past, std::int64_t i) const {
        const double r = static_cast<double>(rho[0]);
        if (options_.mode == LocationMode::monotonic) return step(r) * spacing() + past;
        const double next = softstair(r) * spacing(), gate = location_sigmoid(static_cast<double>(rho[1]));
        if (options_.mode == LocationMode::full)
            return leaky(next + gate * past + location_sigmoid(static_cast<double>(rho[2])));
        return leaky(next + past + (x_.state.empty() && i == 0 ? gate : 0));
    }

    /// The keys that weigh, and `place`, which becomes Σ a_j x_j; `weights` has room for all keys.
    LocationWindow look(double centre, double projected, float* weights, double& place) const {
        const double delta = spacing(), sigma = (location_relu(projected) + 0.27) / static_cast<double>(keys_);
        LocationWindow w;
        w.keys.count = 1;
        if (std::isnan(centre) || std::isnan(sigma)) {
            place = centre + sigma;
            w.factor = static_cast<float>(place);
            return w;
        }
        const auto last = static_cast<double>(keys_ - 1);
        const double nearest = std::clamp(std::round(centre / delta), 0.0, last), away = nearest * delta - centre;
        place = 0;
        if (std::isinf(away)) return w;
        const double radius = std::ceil(std::min(14 * sigma / delta, last)) + 1;
        const double first = std::max(nearest - radius, 0.0), end = std::min(nearest + radius, last) + 1;
        w.first = static_cast<std::int64_t>(first);
        w.keys = {static_cast<std::int64_t>(end - first), static_cast<float>(nearest - first),
                  static_cast<float>(centre / delta - first), static_cast<float>(delta * delta / (2 * sigma * sigma))};
        const locations::GaussianSums sums = locations::gaussian_weights()(w.keys, weights);
        // The definition's 1e-20 of every key, in units of the largest weight.
        const double spread = 2 * sigma * sigma,
                     sum = static_cast<double>(sums.weights) +
                           static_cast<double>(keys_) * 1e-20 * std::exp(std::min(away * away / spread, 700.0));
        w.factor = static_cast<float>(1 / sum);
        place = delta * (first * static_cast<double>(sums.weights) + static_cast<double>(sums.places)) / sum;
        return w;
    }

private:
    double softstair(double x) const {
        const double floor = std::floor(x);
        return floor + location_sigmoid(static_cast<double>(options_.stair_temperature) * (x - floor - 0.5));
    }
    static double leaky(double x) { return std::max(0.01 * x, std::min(x, 1 + 0.01 * x)); }
    double step(double r) const {
        switch (options_.step) {
            case LocationStep::sigmoid:
                return location_sigmoid(5 * r);
            case LocationStep::relu:
                return location_relu(r);
            case LocationStep::controlled_relu:
                return control_ * location_relu(r) + (1 - control_) * location_sigmoid(5 * r);
            case LocationStep::softstair:
                return softstair(r);
            case LocationStep::free:
                break;
        }
        return r;
    }

    const MonotonicLocationInputs& x_;
    const MonotonicLocationOptions& options_;
    std::int64_t keys_;
    double control_ = 0;
};

/// What all steps read: y·w_sigma and y w_rho.
inline void project_positions(const MonotonicLocationInputs& x, MonotonicLocationMemory& m, Context& context) {
    const std::int64_t heads = x.q_position.heads, queries = x.q_position.tokens, columns = x.w_rho.dim;
    m.sigma.resize(static_cast<std::size_t>(heads * queries));
    m.rho.resize(static_cast<std::size_t>(heads * queries * columns));
    const Matrices<const float> y = dense::matrices_of(x.q_position),
                                w_sigma{x.w_sigma.data, heads, 1, x.w_sigma.cols, x.w_sigma.cols, x.w_sigma.row_stride};
    dense::multiply(y, w_sigma, {m.sigma.data(), heads, queries, 1}, {.b_transposed = true}, context);
    dense::multiply(y, dense::matrices_of(x.w_rho), {m.rho.data(), heads, queries, columns}, {}, context);
}

/// The content's outputs, in o, and the mean places that it attends to, where steps start from them.
inline void attend_content(const MonotonicLocationInputs& x, const Heads<float>& o,
                           const MonotonicLocationOptions& options, MonotonicLocationMemory& m, Context& context) {
    attention::Request r;
    r.function = "monotonic_location";
    r.q = x.q;
    r.kv = KvView::of(x.k, x.v);
    r.scale = scale_or_default(options.scale, x.q.dim);
    attention::plan(r, context).run(r.q, r.kv, o, nullptr);
    m.content_place.assign(static_cast<std::size_t>(x.q.heads * x.q.tokens), 0.f);
    if (options.past != LocationPast::mixed) return;
    m.places.resize(static_cast<std::size_t>(x.v.tokens));
    const double delta = LocationSteps(x, options).spacing();
    for (std::size_t j = 0; j < m.places.size(); ++j) m.places[j] = static_cast<float>(static_cast<double>(j) * delta);
    r.kv = KvView::of(x.k, Heads<const float>{m.places.data(), x.k.heads, x.k.tokens, 1, 0, 1});
    attention::plan(r, context).run(r.q, r.kv, hnd(m.content_place.data(), x.q.heads, x.q.tokens, 1), nullptr);
}

/// All steps of a head.
inline void move_centre(const MonotonicLocationInputs& x, const MonotonicLocationOutputs& out,
                        const MonotonicLocationOptions& options, MonotonicLocationMemory& m, std::int64_t h,
                        float* weights) {
    const LocationSteps steps(x, options);
    double past = x.state.empty() ? 0 : static_cast<double>(x.state.data()[h]);
    for (std::int64_t i = 0; i < x.q_position.tokens; ++i) {
        const std::int64_t row = h * x.q_position.tokens + i;
        const auto at = static_cast<std::size_t>(row);
        const double centre = steps.centre(m.rho.data() + row * x.w_rho.dim, past, i);
        LocationWindow& window = m.windows[at] = steps.look(centre, static_cast<double>(m.sigma[at]), weights, past);
        if (out.centre) out.centre[row] = static_cast<float>(centre);
        if (x.mix.empty()) continue;
        const double mix = location_sigmoid(static_cast<double>(x.mix.data()[i]));
        window.factor *= static_cast<float>(mix);
        window.keep = static_cast<float>(1 - mix);
        if (options.past == LocationPast::mixed)
            past = mix * past + (1 - mix) * static_cast<double>(m.content_place[at]);
    }
    if (out.state) out.state[h] = static_cast<float>(past);
}

}  // namespace detail

ATTENTA_INLINE void monotonic_location(const MonotonicLocationInputs& x, const MonotonicLocationOutputs& out,
                                       const MonotonicLocationOptions& options, Context& context) {
    detail::check_monotonic(x, out, options);
    const std::int64_t heads = x.q_position.heads, queries = x.q_position.tokens, keys = x.v.tokens;
    const detail::CallMemory<detail::MonotonicLocationMemory> memory(queries, context);
    detail::project_positions(x, *memory, context);
    if (x.q.data) detail::attend_content(x, out.o, options, *memory, context);
    memory->windows.resize(static_cast<std::size_t>(heads * queries));
    memory->weights.resize(static_cast<std::size_t>(context.executor().concurrency() * keys));
    run_tasks(context.executor(), heads, [&](std::int64_t h, int slot) {
        detail::move_centre(x, out, options, *memory, h, memory->weights.data() + slot * keys);
    });
    run_tasks(context.executor(), heads * queries, [&](std::int64_t row, int slot) {
        const detail::LocationWindow& window = memory->windows[static_cast<std::size_t>(row)];
        float* const weights = memory->weights.data() + slot * keys;
        locations::gaussian_weights()(window.keys, weights);
        const std::int64_t h = row / queries;
        locations::add_weighted_rows()({x.v.row(h / (heads / x.v.heads), window.first), x.v.token_stride,
                                        window.keys.count, x.v.dim, weights, window.factor, window.keep},
                                       out.o.row(h, row % queries));
    });
}

ATTENTA_END
