#include <attenta/sparse/content/combiner.hpp>
#include <attenta/sparse/content/sparsek.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_sparsek(Arguments& args, Context& context) {
    const auto x = args.inputs<SparsekInputs>();
    const auto options = args.options<SparsekOptions>();
    KeyLists lists;
    SparsekOutputs out{sparse_outputs(args, x.q, x.kv), args.output<float>("tau", {x.kv.heads, x.q.tokens})};
    out.lists = &lists;
    sparsek(x, out, options, context);
    const auto before_window = [](std::int64_t position, std::int64_t window) { return position + 1 - window; };
    give_index(args, "index", lists, options.k, {.end = before_window, .parameter = options.window});
}

}  // namespace

std::vector<Mechanism> content_rows() {
    return {
        sparse_row<&combiner>({.name = "combiner",
                               .summary = "near keys directly, all others through regions that are pooled",
                               .source = "Ren et al. 2021, Combiner, sections 3-4",
                               .cost = "fixed T·(S+T/S)·(D+Dv), logsparse T·log T·(D+Dv) time"}),
        sparse_row<&sparsek>({.name = "sparsek",
                              .summary = "at most k keys by scores that do not depend on the query, and a window",
                              .source = "Lou et al. 2024, SparseK, sections 3.1-3.4",
                              .cost = "log k per key to choose, (k+window)·(D+Dv) per query to attend",
                              .more_outputs = ", tau [Hkv, Tq], index [Hkv, Tq, k]"},
                             call_sparsek),
    };
}

}  // namespace rows

ATTENTA_END
