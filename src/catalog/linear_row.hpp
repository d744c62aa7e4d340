// A row of the catalog from the lists of a linear mechanism.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/linear/common.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

/// What is written about a mechanism, in words.
struct About {
    std::string_view name, summary, source, cost;
    std::string more_inputs = "", more_outputs = "";  ///< of the state's companions
};

std::vector<Mechanism> delta_rows(), elementwise_rows(), feature_rows(), gate_rows(), memory_rows();

LinearState state_of(Arguments& args, std::string_view input = "state");
/// What belongs to a state; empty where it is not given.
std::vector<float> companion(Arguments& args, std::string_view input, const LinearState& state, Shape shape);
/// The past of a case: initial_state and what belongs to it, the names of which may be empty where there is none.
LinearState past_of(Arguments& args, std::string_view normalizer, std::string_view weight = "");
void give(Arguments& args, std::string_view output, const std::vector<float>& values, std::vector<std::int64_t> shape);
void give_state(Arguments& args, const LinearState& state);

/// The output that `shape` describes, as "[Ho, T, Dv]", with the sizes of the inputs.
Heads<float> output_of(Arguments& args, const char* shape, std::span<const Input> inputs);
template <class Inputs>
Heads<float> output_of(Arguments& args, const Inputs& inputs) {
    return output_of(args, Inputs::output, InputList(inputs));
}

void take(const NamedInputs& named, std::string_view name, Heads<const float>& x);
void take(const NamedInputs& named, std::string_view name, Matrices<const float>& x);
void take(const NamedInputs& named, std::string_view name, std::span<const float>& x);
/// Named inputs are floats.
inline void take(const NamedInputs&, std::string_view, std::span<const std::int64_t>&) {}

template <auto function>
LinearCall linear_call(const std::string& parameters) {
    using Inputs = typename LinearFunction<function>::Inputs;
    static const Tensors none;
    Arguments args("linear_call", {none, parameters});
    const auto options = args.options<typename LinearFunction<function>::Options>();
    args.refuse_unread();
    return [options](const NamedInputs& named) -> LinearRun {
        Inputs x;
        Inputs::list([&](std::string_view name, auto& tensor, const char*, unsigned = 0) { take(named, name, tensor); },
                     x);
        return [x, options](Heads<float> o, LinearState& state, Context& context) {
            function(x, o, state, options, context);
        };
    };
}

template <auto function>
void call_linear(Arguments& args, Context& context) {
    const auto x = args.inputs<typename LinearFunction<function>::Inputs>();
    const auto options = args.options<typename LinearFunction<function>::Options>();
    LinearState state = state_of(args);
    function(x, output_of(args, x), state, options, context);
    give_state(args, state);
}

template <auto function>
Mechanism linear_row(const About& about, void (*call)(Arguments&, Context&) = call_linear<function>) {
    using Inputs = typename LinearFunction<function>::Inputs;
    const std::string past = about.more_inputs.empty() ? std::string("state ") + Inputs::state : about.more_inputs;
    return {.name = about.name,
            .family = "linear",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{}), past),
            .outputs = std::string("o ") + Inputs::output + ", state " + Inputs::state + about.more_outputs,
            .parameters = parameters_of<typename LinearFunction<function>::Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); },
            .linear = linear_call<function>};
}

}  // namespace rows

ATTENTA_END
