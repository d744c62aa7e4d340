#pragma once

#include <attenta/core/state_snapshots.hpp>
#include <attenta/linear/recurrent/mlstm.hpp>
#include <attenta/linear/recurrent/mlstm_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// 1 / (max(|q·n|, e^−m) + eps). Floats have e^−m from −87 to 88: beyond, the quotient is 0 or no float anyway.
struct MlstmDenominator {
    const float* maxima = nullptr;  ///< [H, tokens]
    std::int64_t tokens = 0;
    float eps = 0;

    static float factor(const void* parameters, std::int64_t head, std::int64_t token, float sum, float) {
        const auto& p = *static_cast<const MlstmDenominator*>(parameters);
        const float exponent = std::clamp(-p.maxima[head * p.tokens + token], -87.f, 88.f), least = std::exp(exponent),
                    size = std::abs(sum);
        return 1.f / ((least > size ? least : size) + p.eps);  // NaN stays
    }
};

/// Gates of all tokens, [H, T] each, and m behind the last, [H]. They stay with the context.
struct MlstmMemory {
    std::vector<float> decays, weights, maxima, last;

    void fill(const MlstmInputs& x, const MlstmOptions& options, const LinearState& state, Executor& executor) {
        const std::int64_t heads = x.k.heads, tokens = x.k.tokens;
        for (std::vector<float>* all : {&decays, &weights, &maxima})
            all->resize(static_cast<std::size_t>(heads * tokens));
        last.resize(static_cast<std::size_t>(heads));
        executor.parallel_for(heads, [&, gates_of = mlstm_gates()](std::int64_t h, int) {
            const MlstmGates gates{decays.data() + h * tokens, weights.data() + h * tokens, maxima.data() + h * tokens};
            for (std::int64_t t = 0; t < tokens; ++t) {
                gates.decays[t] = x.gate_f.row(h, t)[0];
                gates.weights[t] = x.gate_i.row(h, t)[0];
            }
            gates_of(gates, tokens, options.forget == MlstmForget::sigmoid, past(state, h));
            last[static_cast<std::size_t>(h)] = gates.maxima[tokens - 1];
        });
    }
    static float past(const LinearState& state, std::int64_t head) {
        return state.empty() ? 0.f : state.key_max[static_cast<std::size_t>(head)];
    }
};

inline void check_mlstm(const MlstmInputs& x, const LinearState& state, const MlstmOptions& options) {
    require_not_negative("mlstm", "eps", options.eps);
    if (options.scale && !is_finite(*options.scale))
        fail("mlstm", "scale is " + std::to_string(*options.scale) + ", needs a finite number");
    if (!state.empty() && static_cast<std::int64_t>(state.key_max.size()) != state.heads)
        fail("mlstm", "state.key_max has " + std::to_string(state.key_max.size()) + " elements, needs " +
                          std::to_string(state.heads));
    if (options.check_data && options.forget == MlstmForget::log) check_numbers("mlstm", "gate_f", x.gate_f, true);
}

/// m behind the tokens of each snapshot; `first` is the one that came in.
inline void give_maxima(StateSnapshots& snapshots, const MlstmMemory& memory, const std::vector<float>& first,
                        std::int64_t tokens) {
    const auto heads = static_cast<std::int64_t>(memory.last.size());
    for (std::size_t i = 0; i < snapshots.tokens().size(); ++i) {
        const std::int64_t n = snapshots.tokens()[i];
        for (std::int64_t h = 0; h < heads; ++h)
            snapshots.key_max(static_cast<std::int64_t>(i))[h] =
                n > 0 ? memory.maxima.data()[h * tokens + n - 1] : first.data()[h];
    }
}

}  // namespace detail

ATTENTA_INLINE void mlstm(const MlstmInputs& x, Heads<float> o, LinearState& state, const MlstmOptions& options,
                          Context& context) {
    scan::Request r{.function = "mlstm", .q = x.q, .k = x.k, .v = x.v};
    r.normalizer = r.keeps_states = true;
    r.key_maxima = x.k.heads;
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_mlstm(x, state, options);

    const std::int64_t heads = x.k.heads, tokens = x.k.tokens;
    auto& memory = context.kept<detail::MlstmMemory>();
    memory.fill(x, options, state, context.executor());
    const detail::MlstmKeys keys{memory.weights.data(), tokens, detail::scale_or_default(options.scale, x.k.dim)};
    const detail::MlstmDenominator denominator{memory.maxima.data(), tokens, options.eps};
    r.g = hnd(static_cast<const float*>(memory.decays.data()), heads, tokens, 1);
    r.k_map = {detail::mlstm_keys(), &keys};
    r.finish = {detail::MlstmDenominator::factor, &denominator};
    std::vector<float> first;
    if (state.key_max.size() != memory.last.size()) first.resize(memory.last.size());
    scan::run(r, o, state, context);
    if (!first.empty()) state.key_max.swap(first);
    if (state.snapshots) detail::give_maxima(*state.snapshots.get(), memory, state.key_max, tokens);
    std::copy(memory.last.begin(), memory.last.end(), state.key_max.begin());
}

ATTENTA_END
