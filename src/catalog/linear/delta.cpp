// The delta rules of 2025 and 2026, the matrix memory of xLSTM, states on the way of a call.
#include <attenta/core/state_snapshots.hpp>
#include <attenta/linear.hpp>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "../linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_mlstm(Arguments& args, Context& context) {
    const auto x = args.inputs<MlstmInputs>();
    const auto options = args.options<MlstmOptions>();
    LinearState state = state_of(args);
    state.normalizer = companion(args, "state_n", state, {state.heads, state.dim});
    state.key_max = companion(args, "state_m", state, {state.heads});
    mlstm(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "state_n", state.normalizer, {state.heads, state.dim});
    give(args, "state_m", state.key_max, {state.heads});
}

/// Whose states are kept.
enum class SnapshotRule : std::uint8_t { gated_delta_rule, mamba2 };
constexpr std::array<std::string_view, 2> names_of(SnapshotRule) { return {"gated_delta_rule", "mamba2"}; }

struct SnapshotParameters {
    SnapshotRule rule = SnapshotRule::gated_delta_rule;
    std::optional<std::int64_t> every = {};
    std::optional<std::vector<std::int64_t>> at = {};
    std::optional<std::int64_t> last = {}, rollback = {};

    static void fields(auto&& visit, auto& o) {
        visit("rule", o.rule, "gated_delta_rule or mamba2, whose parameters come beside these");
        visit("every", o.every, "states after n, 2n, .. tokens");
        visit("at", o.at, "states after these numbers of tokens");
        visit("last", o.last, "states after T, T - 1, .. tokens, as many as this");
        visit("rollback", o.rollback, "the next tokens follow the state after as many");
    }
    bool keeps() const { return every || at || last || rollback; }
    SnapshotOptions options() const {
        SnapshotOptions o{.every = every, .at = at.value_or(std::vector<std::int64_t>()), .last = last};
        if (rollback) o.at.push_back(*rollback);
        return o;
    }
};

/// What follows a rollback: the tensors of the rule that run over time.
struct NextDeltaInputs {
    Heads<const float> q, k, v, g, beta;
    static void list(auto&& visit, auto& x) {
        visit("next_q", x.q, "[Hq, T, D]", Input::optional);
        visit("next_k", x.k, "[Hk, T, D]", Input::optional);
        visit("next_v", x.v, "[Hv, T, Dv]", Input::optional);
        visit("next_g", x.g, "[Hs, T]", Input::optional | Input::gate);
        visit("next_beta", x.beta, "[Hs, T]", Input::optional);
    }
    GatedDeltaRuleInputs after(const GatedDeltaRuleInputs&) const { return {q, k, v, g, beta}; }
};
struct NextMamba2Inputs {
    Heads<const float> x, dt, B, C, z;
    static void list(auto&& visit, auto& in) {
        visit("next_x", in.x, "[H, T, P]", Input::optional);
        visit("next_dt", in.dt, "[H, T]", Input::optional);
        visit("next_B", in.B, "[G, T, N]", Input::optional);
        visit("next_C", in.C, "[G, T, N]", Input::optional);
        visit("next_z", in.z, "[H, T, P]", Input::optional);
    }
    Mamba2Inputs after(const Mamba2Inputs& first) const { return {x, dt, first.A, B, C, first.D, z, first.dt_bias}; }
};

/// The rule's tensors over time are there with a rollback, and only then: those that the first tokens have, of their widths.
void check_next(const Arguments& args, std::span<const Input> first, std::span<const Input> next, bool rollback) {
    for (const Input& in : next) {
        const std::string name(in.name), of = name.substr(5);
        const bool known =
            std::any_of(first.begin(), first.end(), [&](const Input& f) { return f.name == of && f.given(); });
        if (in.given() && !rollback) args.refuse("input '" + name + "' needs the parameter 'rollback'");
        if (rollback && in.given() != known)
            args.refuse("input '" + name + "' is " +
                        (known ? "not given, 'rollback' needs it" : "given without '" + of + "'"));
    }
}

/// States after these numbers of tokens, one behind the other.
void give_states(Arguments& args, std::string_view output, const StateSnapshots& kept, const LinearState& shape,
                 const std::vector<std::int64_t>& tokens) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    float* to = args.output<float>(output, {count, shape.heads, shape.dim, shape.dim_v});
    LinearState state;
    for (const std::int64_t n : tokens) {
        kept.rollback(n, state);
        to = std::copy(state.matrix.begin(), state.matrix.end(), to);
    }
}

template <auto function, class Next>
void call_with_snapshots(Arguments& args, const SnapshotParameters& parameters, Context& context) {
    const auto x = args.inputs<typename LinearFunction<function>::Inputs>();
    const auto next = args.inputs<Next>();
    const auto options = args.options<typename LinearFunction<function>::Options>();
    LinearState state = state_of(args);
    check_next(args, InputList(x), InputList(next), parameters.rollback.has_value());
    StateSnapshots kept(parameters.options());
    if (parameters.keeps()) state.snapshots = &kept;
    const Heads<float> o = output_of(args, x);
    function(x, o, state, options, context);
    give_state(args, state);

    const std::int64_t T = o.tokens;
    std::vector<std::int64_t> every, last;
    if (parameters.every)
        for (std::int64_t n = 1; n <= T / *parameters.every; ++n) every.push_back(n * *parameters.every);
    for (std::int64_t n = 0; n < parameters.last.value_or(0); ++n) last.push_back(T - n);
    if (parameters.every) give_states(args, "state_every", kept, state, every);
    if (parameters.at) give_states(args, "state_at", kept, state, *parameters.at);
    if (parameters.last) give_states(args, "state_last", kept, state, last);
    if (!parameters.rollback) return;
    LinearState again;
    kept.rollback(*parameters.rollback, again);
    const auto following = next.after(x);
    const Heads<float> o_next = args.output("o_next", o.heads, InputList(next).copy().front().view.tokens, o.dim);
    function(following, o_next, again, options, context);
    give(args, "state_next", again.matrix, {again.heads, again.dim, again.dim_v});
}

void call_state_snapshots(Arguments& args, Context& context) {
    const auto parameters = args.options<SnapshotParameters>();
    if (parameters.rule == SnapshotRule::mamba2)
        call_with_snapshots<&mamba2, NextMamba2Inputs>(args, parameters, context);
    else
        call_with_snapshots<&gated_delta_rule, NextDeltaInputs>(args, parameters, context);
}

/// Of both rules, each once.
std::vector<Parameter> snapshot_parameters() {
    std::vector<Parameter> all = parameters_of<SnapshotParameters>();
    for (const auto& more : {parameters_of<GatedDeltaRuleOptions>(), parameters_of<Mamba2Options>()})
        for (const Parameter& p : more)
            if (std::none_of(all.begin(), all.end(), [&](const Parameter& known) { return known.name == p.name; }))
                all.push_back(p);
    return all;
}

}  // namespace

std::vector<Mechanism> delta_rows() {
    return {
        linear_row<&gdn2>({.name = "gdn2",
                           .summary = "delta rule with a decay per key channel, gates that erase and gates that write",
                           .source = "Gated DeltaNet-2, 2026",
                           .cost = "time Ho T D Dv, state Hs D Dv"}),
        linear_row<&comba>({.name = "comba",
                            .summary = "gated delta rule with a vector of its own for the prediction, before the decay",
                            .source = "Hu et al. 2025, Comba",
                            .cost = "time Ho T D Dv, state Hs D Dv"}),
        linear_row<&gated_oja_rule>({.name = "gated_oja_rule",
                                     .summary = "the state predicts keys from values, decays per value channel",
                                     .source = "flash-linear-attention 2026, after Oja 1982",
                                     .cost = "time 2 Ho T D Dv, state Hs D Dv"}),
        linear_row<&mlstm>({.name = "mlstm",
                            .summary = "matrix memory with an exponential input gate and a running log scale (xLSTM)",
                            .source = "Beck et al. 2024",
                            .cost = "time H T D Dv, state H (D Dv + D + 1)",
                            .more_inputs = "state [H, D, Dv], state_n [H, D], state_m [H]",
                            .more_outputs = ", state_n [H, D], state_m [H]"},
                           call_mlstm),
        {.name = "state_snapshots",
         .family = "linear",
         .summary = "states on the way of a call, and going on from one of them: drafts, prefixes, branches",
         .source = "serving practice",
         .cost = "as the rule, and a copy of the state for each snapshot",
         .inputs =
             "(q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], g [Hs, T], beta [Hs, T], state [Hs, D, Dv] or [H, N, P], x "
             "[H, T, P], dt [H, T], A [H], B [G, T, N], C [G, T, N], D [H] or [H, P], z [H, T, P], dt_bias [H], next_q "
             "[Hq, Tnext, D], next_k [Hk, Tnext, D], next_v [Hv, Tnext, Dv], next_g [Hs, Tnext], next_beta [Hs, "
             "Tnext], "
             "next_x [H, Tnext, P], next_dt [H, Tnext], next_B [G, Tnext, N], next_C [G, Tnext, N], next_z [H, Tnext, "
             "P])",
         .outputs =
             "o [Ho, T, Dv], state [Hs, D, Dv], state_every [Tevery, Hs, D, Dv], state_at [Tat, Hs, D, Dv], state_last "
             "[Tlast, Hs, D, Dv], o_next [Ho, Tnext, Dv], state_next [Hs, D, Dv]; of mamba2 [H, T, P] and [H, N, P]",
         .parameters = snapshot_parameters,
         .call = call_state_snapshots},
    };
}

}  // namespace rows

ATTENTA_END
