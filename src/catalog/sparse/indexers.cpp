#include <attenta/sparse/indexers/dsa.hpp>
#include <attenta/sparse/indexers/msa.hpp>
#include <attenta/sparse/indexers/qsa.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_dsa(Arguments& args, Context& context) {
    const auto x = args.inputs<DsaInputs>();
    const auto options = args.options<DsaOptions>();
    KeyLists lists;
    DsaOutputs out{sparse_outputs(args, x.q, x.kv), args.output<float>("index_score", {x.q.tokens, x.kv.length(0)})};
    out.lists = &lists;
    dsa(x, out, options, context);
    give_index(args, "index", lists, options.top_k, {}, true);
}

void call_msa(Arguments& args, Context& context) {
    const auto x = args.inputs<MsaInputs>();
    const auto options = args.options<MsaOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    msa(x, out, options, context);
    give_index(args, "index", lists, options.top_k, {.unit = options.block_size});
}

/// The tail behind the complete blocks is no part of the index.
void call_qsa(Arguments& args, Context& context) {
    const auto x = args.inputs<QsaInputs>();
    const auto options = args.options<QsaOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    qsa(x, out, options, context);
    const auto complete = [](std::int64_t position, std::int64_t ratio) { return (position + 1) / ratio * ratio; };
    give_index(args, "index", lists, options.budget / options.ratio,
               {.unit = options.ratio, .end = complete, .parameter = options.ratio}, true);
}

}  // namespace

std::vector<Mechanism> indexer_rows() {
    return {
        sparse_row<&dsa>({.name = "dsa",
                          .summary = "DeepSeek sparse attention: a light indexer picks the keys of each query",
                          .source = "DeepSeek-V3.2-Exp (2025)",
                          .cost = "Tk·Hi·Di per query to rank, top_k·(D+Dv) per head to attend",
                          .more_outputs = ", index [Tq, top_k], index_score [Tq, Tk]"},
                         call_dsa),
        sparse_row<&msa>(
            {.name = "msa",
             .summary = "MiniMax sparse attention: an index head for each group picks blocks by their best key",
             .source = "MiniMax-M3 (2026)",
             .cost = "Tk·Di per query and index head to rank, top_k·block·(D+Dv) per head to attend",
             .more_outputs = ", index [Hi, Tq, top_k]"},
            call_msa),
        sparse_row<&qsa>(
            {.name = "qsa",
             .summary = "Qwen sparse attention: small blocks by an indexer, and the query's incomplete one",
             .source = "Qwen3.8-Flash-Next (2026)",
             .cost = "Tk/ratio·Gi·Di per query to rank, budget·(D+Dv) per head to attend",
             .more_outputs = ", index [Tq, budget/ratio]"},
            call_qsa),
    };
}

}  // namespace rows

ATTENTA_END
