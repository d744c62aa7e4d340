#include <attenta/sparse/retrieval/loki.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_loki(Arguments& args, Context& context) {
    const auto x = args.inputs<LokiInputs>();
    const auto options = args.options<LokiOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    loki(x, out, options, context);
    give_index(args, "index", lists, options.read_keys(x.kv.length(0)));
}

}  // namespace

std::vector<Mechanism> retrieval_rows() {
    return {
        sparse_row<&loki>({.name = "loki",
                           .summary = "each query reads the keys whose first principal components it likes best",
                           .source = "Singhania et al. 2024, Loki, algorithm 1",
                           .cost = "Tk·d per query to rank, top_k·(D+Dv) to attend",
                           .more_outputs = ", index [Hq, Tq, top_k]"},
                          call_loki),
    };
}

}  // namespace rows

ATTENTA_END
