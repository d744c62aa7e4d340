#include <attenta/linear/delta_rule.hpp>
#include <attenta/linear/gated_delta_rule.hpp>
#include <attenta/linear/gla.hpp>
#include <attenta/linear/hgrn2.hpp>
#include <attenta/linear/kda.hpp>
#include <attenta/linear/kernel_linear.hpp>
#include <attenta/linear/lightning.hpp>
#include <attenta/linear/mamba2.hpp>
#include <attenta/linear/performer.hpp>
#include <attenta/linear/retention.hpp>
#include <attenta/linear/rwkv6.hpp>
#include <attenta/linear/rwkv7.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace {

using Input = Heads<const float>;

/// [H] as [H, 1, 1]
Input per_head(Arguments& args, std::string_view input) {
    const auto a = args.array<float>(input, {any_size});
    return hnd(a.data, a.shape[0], 1, 1);
}

/// [H, T] as [H, T, 1]
Input per_token(Arguments& args, std::string_view input) {
    const auto a = args.array<float>(input, {any_size, any_size});
    return hnd(a.data, a.shape[0], a.shape[1], 1);
}

/// [H, D] as [H, 1, D]
Input per_channel(Arguments& args, std::string_view input) {
    const auto a = args.array<float>(input, {any_size, any_size});
    return hnd(a.data, a.shape[0], 1, a.shape[1]);
}

/// [H], [H, T] or [H, T, D]
Input gate(Arguments& args, std::string_view input) {
    const std::size_t rank = args.rank(input);
    return rank == 1 ? per_head(args, input) : rank == 2 ? per_token(args, input) : args.heads(input);
}

/// `read` where the input is given.
Input optional(Arguments& args, std::string_view input, Input (*read)(Arguments&, std::string_view)) {
    return args.has(input) ? read(args, input) : Input();
}

Input heads(Arguments& args, std::string_view input) { return args.heads(input); }

LinearState state_of(Arguments& args, std::string_view input = "state") {
    if (!args.has(input)) return {};
    const auto s = args.array<float>(input, {any_size, any_size, any_size});
    LinearState state(s.shape[0], s.shape[1], s.shape[2]);
    std::copy_n(s.data, state.matrix.size(), state.matrix.data());
    return state;
}

/// What belongs to a state; empty where it is not given.
std::vector<float> companion(Arguments& args, std::string_view input, const LinearState& state, Shape shape) {
    if (!args.has(input)) return {};
    if (state.empty()) args.refuse("input '" + std::string(input) + "' belongs to a state, which is not given");
    const auto a = args.array<float>(input, shape);
    std::size_t size = 1;
    for (const std::int64_t n : a.shape) size *= static_cast<std::size_t>(n);
    return {a.data, a.data + size};
}

void give(Arguments& args, std::string_view output, const std::vector<float>& values, std::vector<std::int64_t> shape) {
    std::copy(values.begin(), values.end(), args.output<float>(output, std::move(shape)));
}

void give_state(Arguments& args, const LinearState& s) { give(args, "state", s.matrix, {s.heads, s.dim, s.dim_v}); }

/// [Ho, T, Dv]; an output head for every head of the largest tensor.
Heads<float> output(Arguments& args, const Input& q, const Input& v, std::initializer_list<std::int64_t> others = {}) {
    std::int64_t count = std::max(q.heads, v.heads);
    for (const std::int64_t n : others) count = std::max(count, n);
    return args.output("o", count, q.tokens, v.dim);
}

void kernel_linear_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v");
    const auto options = args.options<KernelLinearOptions>();
    LinearState state = state_of(args, "initial_state");
    state.normalizer = companion(args, "initial_norm_state", state, {state.heads, state.dim});
    kernel_linear(q, k, v, args.output("o", q.heads, q.tokens, v.dim), state, options, context);
    give_state(args, state);
    if (!state.normalizer.empty()) give(args, "norm_state", state.normalizer, {state.heads, state.dim});
}

void performer_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v");
    const auto w = args.array<float>("projection", {any_size, any_size});
    auto options = args.options<PerformerOptions>();
    LinearState state = state_of(args, "initial_state");
    state.normalizer = companion(args, "initial_norm_state", state, {state.heads, state.dim});
    options.key_max = args.optional_vector<float>("key_max");
    // A state was summed with the key_max that comes with it.
    if (!state.empty()) state.key_max.assign(options.key_max.begin(), options.key_max.end());
    performer(q, k, v, {w.data, 1, w.shape[0], w.shape[1]}, args.output("o", q.heads, q.tokens, v.dim), state, options,
              context);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    if (options.kernel == PerformerKernel::softmax) give(args, "key_max", state.key_max, {state.heads});
}

void lightning_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = optional(args, "g", per_head);
    const auto options = args.options<LightningOptions>();
    LinearState state = state_of(args);
    const auto o = output(args, q, v, {k.heads, g.heads});
    lightning(q, k, v, g, o, state, options, context);
    give_state(args, state);
    if (g.data)
        std::copy_n(g.data, g.heads, args.output<float>("g", {g.heads}));
    else
        give(args, "g", lightning_decay(o.heads, options), {o.heads});
}

void retention_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = optional(args, "g", per_head);
    auto options = args.options<RetentionOptions>();
    options.theta = args.optional_vector<float>("theta");
    LinearState state = state_of(args);
    state.weight = companion(args, "state_n", state, {state.heads});
    state.normalizer = companion(args, "state_z", state, {state.heads, state.dim});
    retention(q, k, v, g, output(args, q, v, {k.heads, g.heads}), state, options, context);
    give_state(args, state);
    if (options.score_norm != RetentionNorm::none) give(args, "state_n", state.weight, {state.heads});
    if (options.score_norm == RetentionNorm::full) give(args, "state_z", state.normalizer, {state.heads, state.dim});
}

void mamba2_row(Arguments& args, Context& context) {
    const auto x = args.heads("x"), dt = per_token(args, "dt"), B = args.heads("B"), C = args.heads("C");
    const auto A = args.vector<float>("A");
    auto options = args.options<Mamba2Options>();
    options.D = optional(args, "D", args.rank("D") == 1 ? per_head : per_channel);
    options.z = optional(args, "z", heads);
    options.dt_bias = args.optional_vector<float>("dt_bias");
    LinearState state = state_of(args);
    mamba2(x, dt, A, B, C, args.output("o", x.heads, x.tokens, x.dim), state, options, context);
    give_state(args, state);
}

void gla_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = optional(args, "g", gate);
    auto options = args.options<GlaOptions>();
    options.gv = optional(args, "gv", heads);
    LinearState state = state_of(args);
    gla(q, k, v, g, output(args, q, v, {k.heads}), state, options, context);
    give_state(args, state);
}

void hgrn2_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), v = args.heads("v"), g = args.heads("g");
    const auto options = args.options<Hgrn2Options>();
    LinearState state = state_of(args);
    hgrn2(q, v, g, output(args, q, v), state, options, context);
    give_state(args, state);
}

void rwkv6_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = args.heads("g");
    const auto u = per_channel(args, "u");
    const auto options = args.options<Rwkv6Options>();
    LinearState state = state_of(args);
    rwkv6(q, k, v, g, u, output(args, q, v), state, options, context);
    give_state(args, state);
}

void rwkv7_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = args.heads("g");
    const auto a = args.heads("a"), b = args.heads("b");
    const auto options = args.options<Rwkv7Options>();
    LinearState state = state_of(args);
    rwkv7(q, k, v, a, b, g, output(args, q, v), state, options, context);
    give_state(args, state);
}

void delta_rule_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), beta = per_token(args, "beta");
    const auto options = args.options<DeltaRuleOptions>();
    LinearState state = state_of(args);
    delta_rule(q, k, v, beta, output(args, q, v, {k.heads}), state, options, context);
    give_state(args, state);
}

void gated_delta_rule_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v");
    const auto g = per_token(args, "g"), beta = per_token(args, "beta");
    const auto options = args.options<GatedDeltaRuleOptions>();
    LinearState state = state_of(args);
    gated_delta_rule(q, k, v, g, beta, output(args, q, v, {k.heads}), state, options, context);
    give_state(args, state);
}

void kda_row(Arguments& args, Context& context) {
    const auto q = args.heads("q"), k = args.heads("k"), v = args.heads("v"), g = args.heads("g");
    const auto beta = per_token(args, "beta");
    const auto options = args.options<KdaOptions>();
    LinearState state = state_of(args);
    kda(q, k, v, g, beta, output(args, q, v, {k.heads}), state, options, context);
    give_state(args, state);
}

constexpr Mechanism rows[] = {
    {.name = "kernel_linear",
     .family = "linear",
     .summary = "linear attention with elementwise feature maps, causal or not, with or without denominator; cosFormer",
     .source = "Katharopoulos et al. 2020; Qin et al. 2022",
     .cost = "time (Hq Tq + Hkv Tk) F Dv, state Hkv F (Dv + 1), F = D or 2 D",
     .inputs = "q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv], (initial_state [Hkv, F, Dv], "
               "initial_norm_state [Hkv, F])",
     .outputs = "o [Hq, Tq, Dv], state [Hkv, F, Dv], norm_state [Hkv, F]",
     .parameters = parameters_of<KernelLinearOptions>,
     .call = kernel_linear_row},
    {.name = "performer",
     .family = "linear",
     .summary = "softmax attention estimated with M positive random features, or ReLU features",
     .source = "Choromanski et al. 2021",
     .cost = "time (Hq Tq + Hkv Tk) M (D + Dv), state Hkv M (Dv + 1)",
     .inputs = "q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv], projection [M, D], (key_max [Hkv], "
               "initial_state [Hkv, M, Dv], initial_norm_state [Hkv, M])",
     .outputs = "o [Hq, Tq, Dv], state [Hkv, M, Dv], norm_state [Hkv, M], key_max [Hkv] with kernel softmax",
     .parameters = parameters_of<PerformerOptions>,
     .call = performer_row},
    {.name = "lightning",
     .family = "linear",
     .summary = "causal linear attention with a constant decay per head (TransNormerLLM)",
     .source = "Qin et al. 2024",
     .cost = "time Ho T D Dv, state Hs D Dv",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], (g [Hs], state [Hs, D, Dv])",
     .outputs = "o [Ho, T, Dv], state [Hs, D, Dv], g [Hs]",
     .parameters = parameters_of<LightningOptions>,
     .call = lightning_row},
    {.name = "retention",
     .family = "linear",
     .summary = "rotated queries and keys, a constant decay per head, score normalisations (RetNet)",
     .source = "Sun et al. 2023",
     .cost = "time Ho T D Dv, state Hs (D Dv + D + 1)",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], (g [Hs], theta [D/2], state [Hs, D, Dv], state_n [Hs], "
               "state_z [Hs, D])",
     .outputs =
         "o [Ho, T, Dv], state [Hs, D, Dv], state_n [Hs] with score_norm decay and full, state_z [Hs, D] with full",
     .parameters = parameters_of<RetentionOptions>,
     .call = retention_row},
    {.name = "mamba2",
     .family = "linear",
     .summary = "state space duality: a decay per head and token, groups of B and C, skip, output gate",
     .source = "Dao and Gu 2024",
     .cost = "time H T N P, state H N P",
     .inputs = "x [H, T, P], dt [H, T], A [H], B [G, T, N], C [G, T, N], (D [H] or [H, P], z [H, T, P], dt_bias [H], "
               "state [H, N, P])",
     .outputs = "o [H, T, P], state [H, N, P]",
     .parameters = parameters_of<Mamba2Options>,
     .call = mamba2_row},
    {.name = "gla",
     .family = "linear",
     .summary = "gated linear attention: decays per key channel, per token or per head, also of value channels",
     .source = "Yang et al. 2024",
     .cost = "time Ho T D Dv, state Hs D Dv",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], (g [Hs], [Hs, T] or [Hs, T, D], gv [Hs, T, Dv], "
               "state [Hs, D, Dv])",
     .outputs = "o [Ho, T, Dv], state [Hs, D, Dv]",
     .parameters = parameters_of<GlaOptions>,
     .call = gla_row},
    {.name = "rwkv6",
     .family = "linear",
     .summary = "decay per key channel; the newest token is read through a bonus (RWKV-6)",
     .source = "Peng et al. 2024",
     .cost = "time H T D Dv, state H D Dv",
     .inputs = "q [H, T, D], k [H, T, D], v [H, T, Dv], g [H, T, D], u [H, D], (state [H, D, Dv])",
     .outputs = "o [H, T, Dv], state [H, D, Dv]",
     .parameters = parameters_of<Rwkv6Options>,
     .call = rwkv6_row},
    {.name = "hgrn2",
     .family = "linear",
     .summary = "gated linear attention whose key is what the gate lets go",
     .source = "Qin et al. 2024",
     .cost = "time H T D Dv, state H D Dv",
     .inputs = "q [H, T, D], v [H, T, Dv], g [H, T, D], (state [H, D, Dv])",
     .outputs = "o [H, T, Dv], state [H, D, Dv]",
     .parameters = parameters_of<Hgrn2Options>,
     .call = hgrn2_row},
    {.name = "delta_rule",
     .family = "linear",
     .summary = "every token moves the state towards storing its value under its key (DeltaNet)",
     .source = "Schlag et al. 2021; Yang et al. 2024",
     .cost = "time Ho T D Dv, state Hs D Dv",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], beta [Hs, T], (state [Hs, D, Dv])",
     .outputs = "o [Ho, T, Dv], state [Hs, D, Dv]",
     .parameters = parameters_of<DeltaRuleOptions>,
     .call = delta_rule_row},
    {.name = "gated_delta_rule",
     .family = "linear",
     .summary = "delta rule with a decay per head and token (Gated DeltaNet)",
     .source = "Yang et al. 2025",
     .cost = "time Ho T D Dv, state Hs D Dv",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], g [Hs, T], beta [Hs, T], (state [Hs, D, Dv])",
     .outputs = "o [Ho, T, Dv], state [Hs, D, Dv]",
     .parameters = parameters_of<GatedDeltaRuleOptions>,
     .call = gated_delta_rule_row},
    {.name = "kda",
     .family = "linear",
     .summary = "delta rule with a decay per key channel (Kimi delta attention)",
     .source = "Kimi Team 2025",
     .cost = "time Ho T D Dv, state Hs D Dv",
     .inputs = "q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], g [Hs, T, D], beta [Hs, T], (state [Hs, D, Dv])",
     .outputs = "o [Ho, T, Dv], state [Hs, D, Dv]",
     .parameters = parameters_of<KdaOptions>,
     .call = kda_row},
    {.name = "rwkv7",
     .family = "linear",
     .summary = "decay per key channel and a rank-one transition of the state (RWKV-7)",
     .source = "Peng et al. 2025",
     .cost = "time H T D Dv, state H D Dv",
     .inputs = "q [H, T, D], k [H, T, D], v [H, T, Dv], a [H, T, D], b [H, T, D], g [H, T, D], (state [H, D, Dv])",
     .outputs = "o [H, T, Dv], state [H, D, Dv]",
     .parameters = parameters_of<Rwkv7Options>,
     .call = rwkv7_row},
};

}  // namespace

std::span<const Mechanism> linear_rows() { return rows; }

ATTENTA_END
