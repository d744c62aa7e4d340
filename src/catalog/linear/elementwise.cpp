// Recurrences whose channels do not mix.
#include <attenta/linear.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "../linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_mamba(Arguments& args, Context& context) {
    const auto x = args.inputs<MambaInputs>();
    const auto options = args.options<MambaOptions>();
    LinearState state = state_of(args);
    mamba(x, output_of(args, x), state, options, context);
    give_state(args, state);
}

void call_hgrn(Arguments& args, Context& context) {
    const auto x = args.inputs<HgrnInputs>();
    const auto options = args.options<HgrnOptions>();
    LinearState state;
    if (args.has("state")) {
        const auto given = args.array<float>("state", {any_size, any_size});
        state = LinearState(given.shape[0], 1, given.shape[1]);
        std::copy_n(given.data, state.matrix.size(), state.matrix.data());
    }
    hgrn(x, output_of(args, x), state, options, context);
    give(args, "state", state.matrix, {state.heads, state.dim_v});
}

void call_rwkv4_wkv(Arguments& args, Context& context) {
    const auto x = args.inputs<Rwkv4WkvInputs>();
    const auto options = args.options<Rwkv4WkvOptions>();
    LinearState state = state_of(args);
    rwkv4_wkv(x, output_of(args, x), state, options, context);
    give_state(args, state);
}

void call_bi_wkv(Arguments& args, Context& context) {
    const auto x = args.inputs<BiWkvInputs>();
    const auto options = args.options<BiWkvOptions>();
    bi_wkv(x, output_of(args, x), options, context);
}

void call_causal_conv(Arguments& args, Context& context) {
    const auto x = args.inputs<CausalConvInputs>();
    auto options = args.options<CausalConvOptions>();
    LinearState state = state_of(args);
    const auto o = output_of(args, x);
    const std::int64_t kept = std::max<std::int64_t>(x.weight.dim - 1, 0);
    if (options.at)
        options.state_at =
            args.output<float>("state_at", {static_cast<std::int64_t>(options.at->size()), x.x.heads, kept, x.x.dim});
    causal_conv(x, o, state, options, context);
    give(args, "state", state.matrix, {x.x.heads, kept, x.x.dim});
}

/// Of mechanisms whose sizes are not those of queries, keys and values.
template <class Inputs, class Options>
Mechanism elementwise_row(const About& about, void (*call)(Arguments&, Context&)) {
    return {.name = about.name,
            .family = "linear",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{}), about.more_inputs),
            .outputs = std::string("o ") + Inputs::output + about.more_outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

std::vector<Mechanism> elementwise_rows() {
    return {
        elementwise_row<MambaInputs, MambaOptions>(
            {.name = "mamba",
             .summary = "selective scan: a diagonal state per channel, whose steps, inputs and outputs tokens choose",
             .source = "Gu and Dao 2023",
             .cost = "time H T P N, state H N P",
             .more_inputs = "state [H, N, P]",
             .more_outputs = ", state [H, N, P]"},
            call_mamba),
        elementwise_row<HgrnInputs, HgrnOptions>(
            {.name = "hgrn",
             .summary = "gated linear recurrence: a number per channel that a gate lets go",
             .source = "Qin et al. 2023",
             .cost = "time H T D, state H D",
             .more_inputs = "state [H, D]",
             .more_outputs = ", state [H, D]"},
            call_hgrn),
        elementwise_row<Rwkv4WkvInputs, Rwkv4WkvOptions>(
            {.name = "rwkv4_wkv",
             .summary = "means of values with exponential weights that decay, a bonus for the token itself (RWKV-4)",
             .source = "Peng et al. 2023",
             .cost = "time H T D, state 3 H D",
             .more_inputs = "state [H, 3, D]",
             .more_outputs = ", state [H, 3, D]"},
            call_rwkv4_wkv),
        elementwise_row<BiWkvInputs, BiWkvOptions>(
            {.name = "bi_wkv",
             .summary = "means with exponential weights of both directions, in passes along rows and columns of a grid",
             .source = "Duan et al. 2024; Wang et al. 2025, FEAT",
             .cost = "time R H T D"},
            call_bi_wkv),
        elementwise_row<CausalConvInputs, CausalConvOptions>(
            {.name = "causal_conv",
             .summary =
                 "depth-wise convolution with the newest W inputs of each channel, SiLU, residual, states in between",
             .source = "Gu and Dao 2023; Yang et al. 2025",
             .cost = "time H T D W, state H (W - 1) D",
             .more_inputs = "state [H, W-1, D]",
             .more_outputs = ", state [H, W-1, D], state_at [at, H, W-1, D] with at"},
            call_causal_conv),
    };
}

}  // namespace rows

ATTENTA_END
