#include <attenta/linear.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

LinearState state_of(Arguments& args, std::string_view input) {
    if (!args.has(input)) return {};
    const auto s = args.array<float>(input, {any_size, any_size, any_size});
    LinearState state(s.shape[0], s.shape[1], s.shape[2]);
    std::copy_n(s.data, state.matrix.size(), state.matrix.data());
    return state;
}

void give(Arguments& args, std::string_view output, const std::vector<float>& values, std::vector<std::int64_t> shape) {
    std::copy(values.begin(), values.end(), args.output<float>(output, std::move(shape)));
}

void give_state(Arguments& args, const LinearState& s) { give(args, "state", s.matrix, {s.heads, s.dim, s.dim_v}); }

std::vector<float> companion(Arguments& args, std::string_view input, const LinearState& state, Shape shape) {
    if (!args.has(input)) return {};
    if (state.empty()) args.refuse("input '" + std::string(input) + "' belongs to a state, which is not given");
    const auto a = args.array<float>(input, shape);
    std::size_t size = 1;
    for (const std::int64_t n : a.shape) size *= static_cast<std::size_t>(n);
    return {a.data, a.data + size};
}

LinearState past_of(Arguments& args, std::string_view normalizer, std::string_view weight) {
    LinearState state = state_of(args, "initial_state");
    if (!normalizer.empty()) state.normalizer = companion(args, normalizer, state, {state.heads, state.dim});
    if (!weight.empty()) state.weight = companion(args, weight, state, {state.heads});
    return state;
}

Heads<float> output_of(Arguments& args, const char* shape, std::span<const Input> inputs) {
    LetterSizes sizes;
    std::int64_t most_heads = 0;
    for (const Input& in : inputs) {
        if (!in.given()) continue;
        sizes.take(in);
        if (in.shapes.text[1] == 'H') most_heads = std::max(most_heads, in.view.heads);
    }
    sizes.set("Ho", most_heads);
    const std::array<std::int64_t, 3> o = sizes.of(ShapeLetters::last_of(shape));
    return args.output("o", o[0], o[1], o[2]);
}

namespace {

Heads<const float> find(const NamedInputs& named, std::string_view name) {
    const auto found = named.find(name);
    return found == named.end() ? Heads<const float>() : found->second;
}

}  // namespace

void take(const NamedInputs& named, std::string_view name, Heads<const float>& x) { x = find(named, name); }
void take(const NamedInputs& named, std::string_view name, Matrices<const float>& x) {
    const auto m = find(named, name);
    x = {m.data, 1, m.heads, m.dim, m.head_stride};
}
void take(const NamedInputs& named, std::string_view name, std::span<const float>& x) {
    const auto v = find(named, name);
    x = {v.data, static_cast<std::size_t>(v.heads)};
}

namespace {

void call_kernel_linear(Arguments& args, Context& context) {
    const auto x = args.inputs<KernelLinearInputs>();
    const auto options = args.options<KernelLinearOptions>();
    LinearState state = past_of(args, "initial_norm_state");
    kernel_linear(x, output_of(args, x), state, options, context);
    give_state(args, state);
    if (!state.normalizer.empty()) give(args, "norm_state", state.normalizer, {state.heads, state.dim});
}

void call_performer(Arguments& args, Context& context) {
    const auto x = args.inputs<PerformerInputs>();
    const auto options = args.options<PerformerOptions>();
    LinearState state = past_of(args, "initial_norm_state");
    // A state was summed with the key_max that comes with it.
    if (!state.empty()) state.key_max.assign(x.key_max.begin(), x.key_max.end());
    performer(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    if (options.kernel == PerformerKernel::softmax) give(args, "key_max", state.key_max, {state.heads});
}

void call_lightning(Arguments& args, Context& context) {
    const auto x = args.inputs<LightningInputs>();
    const auto options = args.options<LightningOptions>();
    LinearState state = state_of(args);
    const auto o = output_of(args, x);
    lightning(x, o, state, options, context);
    give_state(args, state);
    if (x.g.data)
        std::copy_n(x.g.data, x.g.heads, args.output<float>("g", {x.g.heads}));
    else
        give(args, "g", lightning_decay(o.heads, options), {o.heads});
}

void call_retention(Arguments& args, Context& context) {
    const auto x = args.inputs<RetentionInputs>();
    const auto options = args.options<RetentionOptions>();
    LinearState state = state_of(args);
    state.weight = companion(args, "state_n", state, {state.heads});
    state.normalizer = companion(args, "state_z", state, {state.heads, state.dim});
    retention(x, output_of(args, x), state, options, context);
    give_state(args, state);
    if (options.score_norm != RetentionNorm::none) give(args, "state_n", state.weight, {state.heads});
    if (options.score_norm == RetentionNorm::full) give(args, "state_z", state.normalizer, {state.heads, state.dim});
}

}  // namespace

}  // namespace rows

std::span<const Mechanism> linear_rows() {
    using namespace rows;
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list = feature_rows();
        const auto more = {
            linear_row<&kernel_linear>(
                {.name = "kernel_linear",
                 .summary = "linear attention with elementwise feature maps, causal or not, with or "
                            "without denominator; cosFormer",
                 .source = "Katharopoulos et al. 2020; Qin et al. 2022",
                 .cost = "time (Hq Tq + Hkv Tk) F Dv, state Hkv F (Dv + 1), F = D or 2 D",
                 .more_inputs = "initial_state [Hkv, F, Dv], initial_norm_state [Hkv, F]",
                 .more_outputs = ", norm_state [Hkv, F]"},
                call_kernel_linear),
            linear_row<&performer>(
                {.name = "performer",
                 .summary = "softmax attention estimated with M positive random features, or ReLU features",
                 .source = "Choromanski et al. 2021",
                 .cost = "time (Hq Tq + Hkv Tk) M (D + Dv), state Hkv M (Dv + 1)",
                 .more_inputs = "initial_state [Hkv, M, Dv], initial_norm_state [Hkv, M]",
                 .more_outputs = ", norm_state [Hkv, M], key_max [Hkv] with kernel softmax"},
                call_performer),
            linear_row<&lightning>(
                {.name = "lightning",
                 .summary = "causal linear attention with a constant decay per head (TransNormerLLM)",
                 .source = "Qin et al. 2024",
                 .cost = "time Ho T D Dv, state Hs D Dv",
                 .more_outputs = ", g [Hs]"},
                call_lightning),
            linear_row<&retention>(
                {.name = "retention",
                 .summary = "rotated queries and keys, a constant decay per head, score normalisations (RetNet)",
                 .source = "Sun et al. 2023",
                 .cost = "time Ho T D Dv, state Hs (D Dv + D + 1)",
                 .more_inputs = "state [Hs, D, Dv], state_n [Hs], state_z [Hs, D]",
                 .more_outputs = ", state_n [Hs] with score_norm decay and full, state_z [Hs, D] with full"},
                call_retention),
            linear_row<&mamba2>(
                {.name = "mamba2",
                 .summary = "state space duality: a decay per head and token, groups of B and C, skip, output gate",
                 .source = "Dao and Gu 2024",
                 .cost = "time H T N P, state H N P"}),
            linear_row<&gla>(
                {.name = "gla",
                 .summary =
                     "gated linear attention: decays per key channel, per token or per head, also of value channels",
                 .source = "Yang et al. 2024",
                 .cost = "time Ho T D Dv, state Hs D Dv"}),
            linear_row<&rwkv6>({.name = "rwkv6",
                                .summary = "decay per key channel; the newest token is read through a bonus (RWKV-6)",
                                .source = "Peng et al. 2024",
                                .cost = "time H T D Dv, state H D Dv"}),
            linear_row<&hgrn2>({.name = "hgrn2",
                                .summary = "gated linear attention whose key is what the gate lets go",
                                .source = "Qin et al. 2024",
                                .cost = "time H T D Dv, state H D Dv"}),
            linear_row<&delta_rule>(
                {.name = "delta_rule",
                 .summary = "every token moves the state towards storing its value under its key (DeltaNet)",
                 .source = "Schlag et al. 2021; Yang et al. 2024",
                 .cost = "time Ho T D Dv, state Hs D Dv"}),
            linear_row<&gated_delta_rule>({.name = "gated_delta_rule",
                                           .summary = "delta rule with a decay per head and token (Gated DeltaNet)",
                                           .source = "Yang et al. 2025",
                                           .cost = "time Ho T D Dv, state Hs D Dv"}),
            linear_row<&kda>({.name = "kda",
                              .summary = "delta rule with a decay per key channel (Kimi delta attention)",
                              .source = "Kimi Team 2025",
                              .cost = "time Ho T D Dv, state Hs D Dv"}),
            linear_row<&rwkv7>({.name = "rwkv7",
                                .summary = "decay per key channel and a rank-one transition of the state (RWKV-7)",
                                .source = "Peng et al. 2025",
                                .cost = "time H T D Dv, state H D Dv"}),
        };
        list.insert(list.begin(), more.begin(), more.end());
        for (const std::vector<Mechanism>& part : {gate_rows(), delta_rows(), memory_rows(), elementwise_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
