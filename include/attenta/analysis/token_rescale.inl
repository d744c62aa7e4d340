#pragma once

#include <attenta/analysis/common/weight_passes.hpp>
#include <attenta/analysis/token_rescale.hpp>

#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace analysis {

ATTENTA_INLINE void token_rescale(const TokenRescaleInputs& x, const TokenRescaleOutputs& out,
                                  const TokenRescaleOptions& options, Context& context) {
    const char* const f = "token_rescale";
    WeightPasses passes(f, x, out.o, out.lse, options.causal, options.scale, context);
    Check check(f, InputList(x), x.kv);
    check.finite_numbers("factor", x.factor.data(), std::ssize(x.factor));
    check.outputs(out, x, options);

    CalibrationMemory& memory = passes.memory();
    memory.ranges.clear();
    append_runs(
        passes.keys(), [&](std::int64_t j) { return x.key_mask[static_cast<std::size_t>(j)] != 0; }, memory.ranges);
    const KeyGroups chosen{memory.ranges.data(), nullptr, std::ssize(memory.ranges), 1};
    passes.find_statistics();
    const float* const mass = passes.group_mass(chosen);
    memory.gain.resize(static_cast<std::size_t>(2 * passes.rows()));
    memory.sums.resize(static_cast<std::size_t>(passes.rows()));
    for (std::int64_t r = 0; r < passes.rows(); ++r) {
        const float factor = x.factor[static_cast<std::size_t>(r / passes.queries())];
        const float sum = factor * mass[2 * r] + mass[2 * r + 1];
        if (options.renormalize && std::abs(sum) <= 1e-6f)
            check.refuse("renormalize is set, the weights of query " + checks::text(r % passes.queries()) +
                         " of head " + checks::text(r / passes.queries()) + " sum to " + std::to_string(sum));
        const float divisor = options.renormalize ? sum : 1.f;
        memory.gain[static_cast<std::size_t>(2 * r)] = factor / divisor;
        memory.gain[static_cast<std::size_t>(2 * r + 1)] = 1.f / divisor;
        memory.sums[static_cast<std::size_t>(r)] = sum / divisor;
    }
    passes.weigh_groups(chosen, memory.gain.data(), out.o, nullptr);
    passes.give_lse(out.lse);
    if (out.row_sum) std::copy(memory.sums.begin(), memory.sums.end(), out.row_sum);
}

}  // namespace analysis

ATTENTA_END
