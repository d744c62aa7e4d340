// A row of the catalog from the lists of a mechanism around exact softmax.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/softmax/common.hpp>
#include <attenta/softmax/softmax.hpp>

#include <string>
#include <string_view>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

/// What is written about a mechanism, in words.
struct SoftmaxAbout {
    std::string_view name, summary, source, cost;
    std::string more_outputs = "";  ///< ", (index [Tq, Tk])"
};

template <class Options>
concept HasVisibleKeys = requires(Options o) {
    o.visibility.segment_q;
};

/// Segments and mask, which are inputs in a file.
void take_visible(Arguments& args, VisibleKeys& visibility);
/// All arrays of exact softmax, which are inputs in a file.
void take_arrays(Arguments& args, SoftmaxOptions& options);
inline constexpr const char* visible_inputs =
    "segment_q [Tq] I64, segment_k [Tk] I64, mask [1 or Hq, 1 or Tq, at most Tk] BOOL";

/// [B, H, T, D]
inline HeadsBatch<const float> batch_of(Arguments& args, std::string_view input) {
    const auto a = args.array<float>(input, {any_size, any_size, any_size, any_size});
    return bhnd(a.data, a.shape[0], a.shape[1], a.shape[2], a.shape[3]);
}

template <class Options>
Options options_of(Arguments& args) {
    auto options = args.options<Options>();
    if constexpr (HasVisibleKeys<Options>) take_visible(args, options.visibility);
    return options;
}

/// `give` makes further outputs: give(args, inputs, out).
template <auto function, class Give>
void call_softmax(Arguments& args, Context& context, Give&& give) {
    using Function = SoftmaxFunction<function>;
    const auto x = args.inputs<typename Function::Inputs>();
    const auto options = options_of<typename Function::Options>(args);
    typename Function::Outputs out{};
    if constexpr (requires { x.kv; })
        out.o = args.output("o", x.q.heads, x.q.tokens, x.kv.v.dim);
    else
        out.o = args.output("o", x.q.heads, x.q.tokens, x.v.dim);
    out.lse = args.output<float>("lse", {x.q.heads, x.q.tokens});
    give(args, x, out);
    function(x, out, options, context);
}
template <auto function>
void call_softmax(Arguments& args, Context& context) {
    call_softmax<function>(args, context, [](Arguments&, const auto&, auto&) {});
}

template <auto function>
Mechanism softmax_row(const SoftmaxAbout& about, void (*call)(Arguments&, Context&) = call_softmax<function>,
                      const std::string& more_inputs = {}) {
    using Inputs = typename SoftmaxFunction<function>::Inputs;
    using Options = typename SoftmaxFunction<function>::Options;
    const std::string more = HasVisibleKeys<Options> ? visible_inputs : more_inputs;
    return {.name = about.name,
            .family = "softmax",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{}), more),
            .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]" + about.more_outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

/// A row of a mechanism that gives other outputs than o and lse.
inline Mechanism giving(Mechanism m, std::string outputs) {
    m.outputs = std::move(outputs);
    return m;
}

}  // namespace rows

ATTENTA_END
