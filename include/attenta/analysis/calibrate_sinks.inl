#pragma once

#include <attenta/analysis/calibrate_sinks.hpp>
#include <attenta/analysis/common/weight_passes.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_calibrate_sinks(Check& check, const CalibrateSinksInputs& x, const CalibrateSinksOutputs& out,
                                  const CalibrateSinksOptions& options) {
    if (options.heads.empty()) check.refuse("heads is empty, needs the heads that are calibrated");
    check.indices("heads", options.heads, x.q.heads);
    check.finite("threshold", options.threshold);
    if (options.threshold <= 0)
        check.refuse("threshold is " + std::to_string(options.threshold) + ", needs a number above 0");
    check.within("beta", options.beta, 0, 1);
    check.finite("min_rest", options.min_rest);
    if (options.min_rest <= 0)
        check.refuse("min_rest is " + std::to_string(options.min_rest) + ", needs a number above 0");
    check.scratch("the sums of the keys", x.q.heads, x.kv.length(0), 1);
    check.outputs(out, x, options);
}

/// Mean weight [Hq, Tk] that keys receive, from their sums, in place.
inline void average_received(const WeightPasses& passes, float* sums) {
    for (std::int64_t j = 0; j < passes.keys(); ++j) {
        const std::int64_t seen_by =
            passes.options().causal ? std::min(passes.queries(), passes.keys() - j) : passes.queries();
        for (std::int64_t h = 0; h < passes.heads(); ++h) sums[h * passes.keys() + j] /= static_cast<float>(seen_by);
    }
}

/// Sinks of one head, after protection.
inline void find_sinks(const float* received, std::int64_t keys, const CalibrateSinksOptions& options,
                       std::vector<KeyRange>& to) {
    const auto is_sink = [&](std::int64_t j) { return double{received[j]} > options.threshold; };
    std::int64_t kept = 0;
    if (options.protect == SinkProtection::first_detected)
        while (kept < keys && !is_sink(kept)) ++kept;
    append_runs(
        keys, [&](std::int64_t j) { return j != kept && is_sink(j); }, to);
}

/// Factors of the weights on sinks and on others in each row.
inline void sink_gains(const WeightPasses& passes, const CalibrateSinksOptions& options, const float* mass) {
    CalibrationMemory& memory = passes.memory();
    memory.gain.assign(static_cast<std::size_t>(2 * passes.rows()), 1.f);
    for (const std::int64_t h : options.heads)
        for (std::int64_t r = h * passes.queries(); r < (h + 1) * passes.queries(); ++r) {
            const double sinks = double{mass[2 * r]}, rest = double{mass[2 * r + 1]};
            if (rest < options.min_rest) continue;
            memory.gain[static_cast<std::size_t>(2 * r)] = static_cast<float>(options.beta);
            memory.gain[static_cast<std::size_t>(2 * r + 1)] =
                static_cast<float>(1 + (1 - options.beta) * sinks / rest);
        }
}

}  // namespace detail

ATTENTA_INLINE void calibrate_sinks(const CalibrateSinksInputs& x, const CalibrateSinksOutputs& out,
                                    const CalibrateSinksOptions& options, Context& context) {
    const char* const f = "calibrate_sinks";
    WeightPasses passes(f, x, out.o, out.lse, options.causal, options.scale, context);
    Check check(f, InputList(x), x.kv);
    detail::check_calibrate_sinks(check, x, out, options);

    CalibrationMemory& memory = passes.memory();
    const std::int64_t heads = passes.heads(), keys = passes.keys();
    passes.find_statistics();
    memory.sums.assign(static_cast<std::size_t>(heads * keys), 0.f);
    passes.weigh({edit(edits::ColumnSums{memory.sums.data(), keys})});
    detail::average_received(passes, memory.sums.data());
    memory.ranges.clear();
    memory.first.assign(1, 0);
    for (std::int64_t h = 0; h < heads; ++h) {
        if (std::find(options.heads.begin(), options.heads.end(), h) != options.heads.end())
            detail::find_sinks(memory.sums.data() + h * keys, keys, options, memory.ranges);
        memory.first.push_back(std::ssize(memory.ranges));
    }
    const KeyGroups sinks{memory.ranges.data(), memory.first.data(), std::ssize(memory.ranges), 1};
    detail::sink_gains(passes, options, passes.group_mass(sinks));
    passes.weigh_groups(sinks, memory.gain.data(), out.o, out.weights);
    passes.give_lse(out.lse);
    if (out.received) std::copy(memory.sums.begin(), memory.sums.end(), out.received);
    if (!out.sinks) return;
    std::fill_n(out.sinks, heads * keys, 0);
    for (std::int64_t h = 0; h < heads; ++h)
        for (const KeyRange* r = sinks.begin(h); r != sinks.end(h); ++r)
            std::fill_n(out.sinks + h * keys + r->begin, r->end - r->begin, 1);
}

}  // namespace analysis

ATTENTA_END
