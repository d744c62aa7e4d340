#pragma once

#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/weight_passes.hpp>
#include <attenta/analysis/massive_activations.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_massive_activations(Check& check, const MassiveActivationsInputs& x,
                                      const MassiveActivationsOutputs& out, const MassiveActivationsOptions& options) {
    if (x.hidden.cols < 1) check.refuse("hidden has no channels, needs one at least");
    for (const auto& [name, number] : {std::pair{"magnitude", options.magnitude}, {"ratio", options.ratio}}) {
        check.finite(name, number);
        if (number < 0) check.refuse(std::string(name) + " is " + std::to_string(number) + ", needs 0 or more");
    }
    check.range("top", options.top, 1, x.hidden.rows * x.hidden.cols);
    for (std::int64_t t = 0; t < x.hidden.rows; ++t) check.finite_numbers("hidden", x.hidden.row(0, t), x.hidden.cols);
    check.outputs(out, x, options);
}

/// |hidden| [Tk, d], dense.
inline std::vector<float> magnitudes_of(const Matrices<const float>& hidden) {
    std::vector<float> all;
    all.reserve(static_cast<std::size_t>(hidden.rows * hidden.cols));
    for (std::int64_t t = 0; t < hidden.rows; ++t)
        std::transform(hidden.row(0, t), hidden.row(0, t) + hidden.cols, std::back_inserter(all),
                       [](float x) { return std::abs(x); });
    return all;
}

inline float lower_median(std::vector<float> x) {
    const auto middle = x.begin() + (std::ssize(x) - 1) / 2;
    std::nth_element(x.begin(), middle, x.end());
    return *middle;
}

inline void give_largest(const std::vector<float>& x, std::int64_t channels, std::int64_t top,
                         const MassiveActivationsOutputs& out) {
    std::vector<std::int64_t> places(static_cast<std::size_t>(top));
    largest(x.data(), std::ssize(x), top, places.data());
    for (std::int64_t n = 0; n < top; ++n) {
        const std::int64_t at = places[static_cast<std::size_t>(n)];
        if (out.top) out.top[n] = x[static_cast<std::size_t>(at)];
        if (!out.top_index) continue;
        out.top_index[2 * n] = at / channels;
        out.top_index[2 * n + 1] = at % channels;
    }
}

}  // namespace detail

ATTENTA_INLINE void massive_activations(const MassiveActivationsInputs& x, const MassiveActivationsOutputs& out,
                                        const MassiveActivationsOptions& options, Context& context) {
    const char* const f = "massive_activations";
    WeightPasses passes(f, x, out.o, out.lse, options.causal, options.scale, context);
    Check check(f, InputList(x), x.kv);
    detail::check_massive_activations(check, x, out, options);

    const std::int64_t channels = x.hidden.cols, keys = passes.keys(), rows = passes.rows();
    const std::vector<float> magnitudes = detail::magnitudes_of(x.hidden);
    const float median = detail::lower_median(magnitudes);
    const double least = std::max(options.magnitude, options.ratio * double{median});
    const auto is_massive = [least](float value) { return double{value} > least; };
    std::vector<bool> massive_token(static_cast<std::size_t>(keys));
    for (std::int64_t t = 0; t < keys; ++t) {
        const float* const row = magnitudes.data() + t * channels;
        massive_token[static_cast<std::size_t>(t)] = std::any_of(row, row + channels, is_massive);
    }
    CalibrationMemory& memory = passes.memory();
    memory.ranges.clear();
    append_runs(
        keys, [&](std::int64_t j) { return bool{massive_token[static_cast<std::size_t>(j)]}; }, memory.ranges);
    const KeyGroups tokens{memory.ranges.data(), nullptr, std::ssize(memory.ranges), 1};
    passes.find_statistics();
    const float* const mass = passes.group_mass(tokens);
    memory.gain.resize(static_cast<std::size_t>(2 * rows));
    for (const auto& [o, of_tokens] : {std::pair{out.o_sink, 1.f}, {out.o_rest, 0.f}}) {
        for (std::int64_t r = 0; r < rows; ++r) {
            memory.gain[static_cast<std::size_t>(2 * r)] = of_tokens;
            memory.gain[static_cast<std::size_t>(2 * r + 1)] = 1.f - of_tokens;
        }
        passes.weigh_groups(tokens, memory.gain.data(), o, nullptr);
    }
    for (std::int64_t h = 0; h < out.o.heads; ++h)
        for (std::int64_t i = 0; i < out.o.tokens; ++i) {
            std::copy_n(out.o_rest.row(h, i), out.o.dim, out.o.row(h, i));
            add_weighted_row()(out.o_sink.row(h, i), out.o.dim, 1.f, out.o.row(h, i));
        }
    passes.give_lse(out.lse);
    for (std::int64_t r = 0; out.sink_weight && r < rows; ++r) out.sink_weight[r] = mass[2 * r];
    if (out.massive)
        std::transform(magnitudes.begin(), magnitudes.end(), out.massive,
                       [&](float value) { return is_massive(value) ? 1 : 0; });
    if (out.tokens) std::copy(massive_token.begin(), massive_token.end(), out.tokens);
    if (out.median) out.median[0] = median;
    detail::give_largest(magnitudes, channels, options.top, out);
}

}  // namespace analysis

ATTENTA_END
