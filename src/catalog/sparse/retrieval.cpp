#include <attenta/sparse/retrieval/knn_memory.hpp>
#include <attenta/sparse/retrieval/loki.hpp>
#include <attenta/sparse/retrieval/retrieval.hpp>

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

void call_retrieval(Arguments& args, Context& context) {
    const auto x = args.inputs<RetrievalInputs>();
    const auto options = args.options<RetrievalOptions>();
    KeyLists lists;
    RetrievalOutputs out{sparse_outputs(args, x.q, x.kv)};
    out.lists = &lists;
    out.o_static = args.output("o_static", x.q.heads, x.q.tokens, x.kv.v.dim);
    out.lse_static = args.output<float>("lse_static", {x.q.heads, x.q.tokens});
    if (x.found.data) out.recall = args.output<float>("recall", {x.q.heads, x.q.tokens});
    retrieval(x, out, options, context);
    const auto end = [](std::int64_t position, std::int64_t window) { return position + 1 - window; };
    give_index(args, "index", lists, options.top_k, {.begin = options.sink, .end = end, .parameter = options.window});
}

void call_knn_memory(Arguments& args, Context& context) {
    const auto x = args.inputs<KnnMemoryInputs>();
    const auto options = args.options<KnnMemoryOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    knn_memory(x, out, options, context);
    if (options.top_k.value_or(0) > 0) give_index(args, "index", lists, *options.top_k);
    if (options.top_k == 0) args.output<std::int64_t>("index", {x.q.heads, x.q.tokens, 0});
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
        sparse_row<&knn_memory>({.name = "knn_memory",
                                 .summary = "each query reads the local context and the best keys of a memory",
                                 .source = "Tworkowski et al. 2023, Focused Transformer, section 3.1",
                                 .cost = "Tm·D per query to rank, (Tk+top_k)·(D+Dv) to attend",
                                 .more_outputs = ", (index [Hq, Tq, top_k])"},
                                call_knn_memory),
        sparse_row<&retrieval>(
            {.name = "retrieval",
             .summary = "each query reads sinks, a window and the other keys with the largest products",
             .source = "Liu et al. 2024, RetrievalAttention, section 3",
             .cost = "Tk·D per query to rank, (sink+window+top_k)·(D+Dv) to attend",
             .more_outputs = ", o_static [Hq, Tq, Dv], lse_static [Hq, Tq], index [Hq, Tq, top_k], (recall [Hq, Tq])"},
            call_retrieval),
    };
}

}  // namespace rows

ATTENTA_END
