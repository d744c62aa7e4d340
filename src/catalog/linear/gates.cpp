// Gates, norms, latents, codewords.
#include <attenta/linear.hpp>

#include <algorithm>

#include "../linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_regla(Arguments& args, Context& context) {
    const auto x = args.inputs<ReglaInputs>();
    const auto options = args.options<ReglaOptions>();
    LinearState state = state_of(args);
    state.key_max = companion(args, "state_m", state, {state.heads});
    regla(x, output_of(args, x), state, options, context);
    give_state(args, state);
    if (options.key_max == ReglaKeyMax::sequence) give(args, "state_m", state.key_max, {state.heads});
}

void call_random_feature_gated(Arguments& args, Context& context) {
    const auto x = args.inputs<RandomFeatureGatedInputs>();
    const auto options = args.options<RandomFeatureGatedOptions>();
    LinearState state = past_of(args, "initial_norm_state", "initial_gate");
    random_feature_gated(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    if (options.gate_mode == SentenceGate::convex) give(args, "last_gate", state.weight, {state.heads});
}

void call_latte(Arguments& args, Context& context) {
    const auto x = args.inputs<LatteInputs>();
    const auto options = args.options<LatteOptions>();
    LinearState state = past_of(args, "initial_norm_state");
    state.key_max = companion(args, "initial_max_state", state, {state.heads, state.dim});
    latte(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    give(args, "max_state", state.key_max, {state.heads, state.dim});
}

void call_vq(Arguments& args, Context& context) {
    const auto x = args.inputs<VqInputs>();
    const auto options = args.options<VqOptions>();
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, codewords = x.codebook.tokens;
    vq(x,
       {.o = args.output("o", heads, queries, x.v.dim),
        .lse = args.output<float>("lse", {heads, queries}),
        .shortcodes = args.output<std::int64_t>("shortcodes", {x.v.heads, x.v.tokens}),
        .cache_count = args.output<float>("cache_count", {x.v.heads, codewords}),
        .cache_value = args.output<float>("cache_value", {x.v.heads, codewords, x.v.dim})},
       options, context);
}

void call_sea(Arguments& args, Context& context) {
    const auto x = args.inputs<SeaInputs>();
    const auto options = args.options<SeaOptions>();
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, keys = x.kv.length(0);
    KeyLists lists;
    SeaOutputs out;
    out.o = args.output("o", heads, queries, x.kv.v.dim);
    out.lse = args.output<float>("lse", {heads, queries});
    out.lists = &lists;
    out.kept = args.output<std::int64_t>("mask_compressed", {heads, queries, x.estimate.dim});
    sea(x, out, options, context);
    std::int64_t* mask = args.output<std::int64_t>("mask", {heads, queries, keys});
    for (std::int64_t n = 0; mask && n < lists.lists(); ++n, mask += keys)
        for (const KeyRun& run : lists.runs(n)) std::fill_n(mask + run.start, run.count, 1);
}

/// A row of a mechanism without a state.
template <class Inputs, class Options>
Mechanism stateless_row(const About& about, void (*call)(Arguments&, Context&)) {
    return {.name = about.name,
            .family = "linear",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{})),
            .outputs = about.more_outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

std::vector<Mechanism> gate_rows() {
    return {
        linear_row<&lrpe>({.name = "lrpe",
                           .summary = "relative positions by angles per channel, a constant decay per head",
                           .source = "Qin et al. 2023, TransNormerLLM, eq. 1-3",
                           .cost = "time Ho T 2D Dv, state Hs 2D Dv"}),
        linear_row<&transnormer>({.name = "transnormer",
                                  .summary = "constant decays, the norm of all heads in place of a denominator, a gate",
                                  .source = "Qin et al. 2023, TransNormerLLM",
                                  .cost = "time H T F Dv, state H F Dv, F = D or with theta 2D"}),
        linear_row<&regla>({.name = "regla",
                            .summary = "exponential features, refined gates of value channels, a norm of the outputs",
                            .source = "Lu et al. 2025, ReGLA",
                            .cost = "time H T D Dv, state H D Dv",
                            .more_inputs = "state [H, D, Dv], state_m [H]",
                            .more_outputs = ", state_m [H] with key_max sequence"},
                           call_regla),
        linear_row<&random_feature_gated>(
            {.name = "random_feature_gated",
             .summary = "random features of unit rows, a state that decays where sentences end",
             .source = "Wu et al. 2022; Peng et al. 2021",
             .cost = "time (Hq Tq + Hkv Tk) (M D + F Dv), state Hkv F (Dv + 1), F = 2 M or M",
             .more_inputs = "initial_state [Hkv, F, Dv], initial_norm_state [Hkv, F], initial_gate [Hkv]",
             .more_outputs = ", norm_state [Hkv, F], last_gate [Hkv] with gate_mode convex"},
            call_random_feature_gated),
        linear_row<&latte>(
            {.name = "latte",
             .summary = "tokens attend to latents and latents to positions, and maybe a window is read exactly",
             .source = "Dolga et al. 2024, Latte",
             .cost = "time (Hq Tq + Hkv Tk) L Dv, state Hkv L (Dv + 2)",
             .more_inputs = "initial_state [Hkv, L, Dv], initial_norm_state [Hkv, L], initial_max_state [Hkv, L]",
             .more_outputs = ", norm_state [Hkv, L], max_state [Hkv, L]"},
            call_latte),
        stateless_row<VqInputs, VqOptions>(
            {.name = "vq",
             .summary = "keys are codewords: near ones are read one by one, the others by count and mean value",
             .source = "Lingle 2024, Transformer-VQ",
             .cost = "(R + S)·(D + Dv) per query, S·D per key to quantise",
             .more_outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], shortcodes [Hkv, Tk], cache_count [Hkv, S], "
                             "cache_value [Hkv, S, Dv]"},
            call_vq),
        stateless_row<SeaInputs, SeaOptions>(
            {.name = "sea",
             .summary = "the keys under the largest entries of an estimated, compressed matrix, and an average",
             .source = "Lee et al. 2024, SEA",
             .cost = "W per query to choose, k·(D + Dv) per query to attend, Tk·Dv for the average",
             .more_outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], (mask [Hq, Tq, Tk]), mask_compressed [Hq, Tq, W]"},
            call_sea),
    };
}

}  // namespace rows

ATTENTA_END
