// A row of the catalog from the lists of a sparse mechanism.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

/// What is written about a sparse mechanism, in words.
struct SparseAbout {
    std::string_view name, summary, source, cost;
    std::string more_outputs = "";  ///< ", index [Hq, Tq, top]"
};

/// o [Hq, Tq, Dv] and lse [Hq, Tq].
inline SparseOutputs sparse_outputs(Arguments& args, Heads<const float> q, const KvView& kv) {
    return {.o = args.output("o", q.heads, q.tokens, kv.v.dim), .lse = args.output<float>("lse", {q.heads, q.tokens})};
}

/// Which keys of a list are its selection: those of a query from `begin` to `end`, in blocks of `unit`.
struct SelectedKeys {
    std::int64_t unit = 1, begin = 0;
    std::int64_t (*end)(std::int64_t position, std::int64_t parameter) = nullptr;  ///< null: to the last
    std::int64_t parameter = 0;
};

/// index [heads, Tq, width] of a selection, or [Tq, width] where all heads share it, padded with -1.
void give_index(Arguments& args, std::string_view output, const KeyLists& lists, std::int64_t width,
                const SelectedKeys& selected = {}, bool shared = false);

template <auto function>
void call_sparse(Arguments& args, Context& context) {
    const auto x = args.inputs<typename SparseFunction<function>::Inputs>();
    const auto options = args.options<typename SparseFunction<function>::Options>();
    function(x, sparse_outputs(args, x.q, x.kv), options, context);
}

/// The same of a mechanism that selects: give(lists, options) makes outputs of what it has selected.
template <auto function, class Give>
void call_selecting(Arguments& args, Context& context, Give&& give) {
    const auto x = args.inputs<typename SparseFunction<function>::Inputs>();
    const auto options = args.options<typename SparseFunction<function>::Options>();
    KeyLists lists;
    typename SparseFunction<function>::Outputs out{sparse_outputs(args, x.q, x.kv)};
    out.lists = &lists;
    function(x, out, options, context);
    give(lists, options);
}

template <auto function>
Mechanism sparse_row(const SparseAbout& about, void (*call)(Arguments&, Context&) = call_sparse<function>) {
    using Inputs = typename SparseFunction<function>::Inputs;
    return {.name = about.name,
            .family = "sparse",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{})),
            .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]" + about.more_outputs,
            .parameters = parameters_of<typename SparseFunction<function>::Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

/// A row of a mechanism that gives other outputs than o and lse.
inline Mechanism with_outputs(Mechanism m, std::string outputs) {
    m.outputs = std::move(outputs);
    return m;
}

}  // namespace rows

ATTENTA_END
