// Memories that solve or learn while they read.
#include <attenta/linear.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "../linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_mesa(Arguments& args, Context& context) {
    const auto x = args.inputs<MesaInputs>();
    const auto options = args.options<MesaOptions>();
    LinearState state = state_of(args);
    state.normalizer = companion(args, "state_kk", state, {state.heads, state.dim, state.dim});
    mesa(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "state_kk", state.normalizer, {state.heads, state.dim, state.dim});
}

/// Levels lie in front of heads in a case, and behind them in a state.
template <class From, class To>
void swap_levels(From* from, To* to, std::int64_t outer, std::int64_t inner, std::int64_t inner_of_to, std::int64_t n) {
    for (std::int64_t i = 0; i < outer; ++i)
        for (std::int64_t j = 0; j < inner; ++j)
            std::copy_n(from + (i * inner + j) * n, n, to + (j * inner_of_to + i) * n);
}

void call_log_linear(Arguments& args, Context& context) {
    const auto x = args.inputs<LogLinearInputs>();
    const auto options = args.options<LogLinearOptions>();
    const std::int64_t levels = x.level_weight.dim + 1;
    LinearState state;
    if (args.has("state")) {
        const auto given = args.array<float>("state", {any_size, any_size, any_size, any_size});
        const std::int64_t heads = given.shape[1], dim = given.shape[2], dim_v = given.shape[3];
        const auto least = static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(options.position)));
        if (given.shape[0] > levels || (options.position > 0 && given.shape[0] <= least))
            args.refuse("input 'state' has " + std::to_string(given.shape[0]) + " levels, expected " +
                        std::to_string(least + 1) + " to " + std::to_string(levels));
        state = LinearState(heads, levels * dim, dim_v);
        swap_levels(given.data, state.matrix.data(), given.shape[0], heads, levels, dim * dim_v);
    }
    log_linear(x, output_of(args, x), state, options, context);
    const std::int64_t dim = x.k.dim;
    swap_levels(state.matrix.data(), args.output<float>("state", {levels, state.heads, dim, state.dim_v}), state.heads,
                levels, state.heads, dim * state.dim_v);
}

/// The parts of a memory that learns, under the names that its depth has.
struct TitansPart {
    const char* name;
    LinearState* state;
};
std::vector<TitansPart> titans_parts(TitansState& state, bool two_layers) {
    if (!two_layers) return {{"state", &state.first.weights}, {"momentum", &state.first.momentum}};
    return {{"state_w1", &state.first.weights},
            {"state_w2", &state.second.weights},
            {"momentum_w1", &state.first.momentum},
            {"momentum_w2", &state.second.momentum}};
}

/// `function` reads and leaves a memory, whose inputs have the prefix.
template <class Inputs, class Options, auto function>
void call_with_memory(Arguments& args, const std::string& prefix, Context& context) {
    const auto x = args.inputs<Inputs>();
    const auto options = args.options<Options>();
    TitansState state;
    const bool two_layers = args.has(prefix + "state_w1") || args.has(prefix + "state_w2");
    for (const TitansPart& part : titans_parts(state, two_layers)) *part.state = state_of(args, prefix + part.name);
    if (two_layers && !state.two_layers()) args.refuse("input '" + prefix + "state_w2' is missing");
    function(x, output_of(args, x), state, options, context);
    for (const auto& [name, part] : titans_parts(state, two_layers))
        give(args, name, part->matrix, {part->heads, part->dim, part->dim_v});
}

void call_titans(Arguments& args, Context& context) {
    call_with_memory<TitansInputs, TitansOptions, &titans>(args, "", context);
}
void call_titans_mag(Arguments& args, Context& context) {
    call_with_memory<TitansMagInputs, TitansMagOptions, &titans_mag>(args, "mem_", context);
}

/// Of mechanisms whose state is a memory that learns.
template <class Inputs, class Options>
Mechanism titans_row(const About& about, void (*call)(Arguments&, Context&)) {
    std::vector<Input> inputs = InputList(Inputs{}).copy();
    for (Input& in : inputs)
        if (in.letters().tokens == "TN") in.flags = Input::required;  // a case without such tokens has none of them
    return {.name = about.name,
            .family = "linear",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(inputs, about.more_inputs),
            .outputs = std::string("o ") + Inputs::output + about.more_outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

std::vector<Mechanism> memory_rows() {
    return {
        linear_row<&log_linear>(
            {.name = "log_linear",
             .summary = "gated linear attention with a state and a weight for each level of a Fenwick tree of tokens",
             .source = "Guo et al. 2025",
             .cost = "time Ho T log T D Dv, state Hs (L + 1) D Dv",
             .more_inputs = "state [L+1, Hs, D, Dv]"},
            call_log_linear),
        linear_row<&mesa>(
            {.name = "mesa",
             .summary = "the read of a ridge regression of values on keys, solved for every query (MesaNet)",
             .source = "von Oswald et al. 2025",
             .cost = "time Ho T (D Dv + steps D D), state Hs (D Dv + D D)",
             .more_inputs = "state [Hs, D, Dv], state_kk [Hs, D, D]",
             .more_outputs = ", state_kk [Hs, D, D]"},
            call_mesa),
        titans_row<TitansInputs, TitansOptions>(
            {.name = "titans",
             .summary = "a memory of one or two layers, trained with momentum and forgetting while it is read (Titans)",
             .source = "Behrouz et al. 2025",
             .cost = "time about 3 H T D Dv or 3 H T E (D + Dv), state 2 H D Dv or 2 H E (D + Dv)",
             .more_inputs = "state [H, D, Dv], momentum [H, D, Dv], or state_w1 [H, D, E], state_w2 [H, E, Dv], "
                            "momentum_w1 [H, D, E], momentum_w2 [H, E, Dv]",
             .more_outputs = ", state and momentum under the names of the inputs"},
            call_titans),
        titans_row<TitansMagInputs, TitansMagOptions>(
            {.name = "titans_mag",
             .summary = "attention in a window and over persistent tokens, gated by what a memory recalls (Titans)",
             .source = "Behrouz et al. 2025",
             .cost = "time H T window (D + Dv) and titans, state that of titans",
             .more_inputs = "mem_state [H, Dm, Dv], mem_momentum [H, Dm, Dv], or mem_state_w1 [H, Dm, E], mem_state_w2 "
                            "[H, E, Dv], mem_momentum_w1 [H, Dm, E], mem_momentum_w2 [H, E, Dv]",
             .more_outputs = ", state and momentum under the names of titans"},
            call_titans_mag),
    };
}

}  // namespace rows

ATTENTA_END
