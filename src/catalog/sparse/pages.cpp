#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/nsa.hpp>
#include <attenta/sparse/pages/quest.hpp>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_quest(Arguments& args, Context& context) {
    const auto x = args.inputs<QuestInputs>();
    const auto options = args.options<QuestOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    quest(x, out, options, context);
    give_index(args, "index", lists, options.top_pages, {.unit = options.page_size});
}

void call_moba(Arguments& args, Context& context) {
    const auto x = args.inputs<MobaInputs>();
    const auto options = args.options<MobaOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    moba(x, out, options, context);
    give_index(args, "index", lists, options.top_k, {.unit = options.block_size});
}

void call_nsa(Arguments& args, Context& context) {
    const auto x = args.inputs<NsaInputs>();
    const auto options = args.options<NsaOptions>();
    const auto output = [&](const char* name) { return args.output(name, x.q.heads, x.q.tokens, x.kv.v.dim); };
    KeyLists lists;
    nsa(x, {{.o = output("o"), .lists = &lists}, output("o_cmp"), output("o_slc"), output("o_win")}, options, context);
    give_index(args, "index", lists, options.top_n, {.unit = options.slc_size});
}

Mechanism nsa_row() {
    Mechanism row =
        sparse_row<&nsa>({.name = "nsa",
                          .summary = "native sparse attention: compressed blocks, selected blocks, a window",
                          .source = "Yuan et al. 2025, NSA, eq. 5-12",
                          .cost = "(Tk/stride + top_n·block + window)·(D+Dv) per query"},
                         call_nsa);
    row.outputs = "o [Hq, Tq, Dv], o_cmp [Hq, Tq, Dv], o_slc [Hq, Tq, Dv], o_win [Hq, Tq, Dv], index [Hkv, Tq, top_n]";
    return row;
}

}  // namespace

std::vector<Mechanism> page_rows() {
    return {
        sparse_row<&quest>({.name = "quest",
                            .summary = "each query reads the pages whose keys could score best",
                            .source = "Tang et al. 2024, Quest, algorithm 1",
                            .cost = "Tk/page·2·D per query to rank, top_pages·page·(D+Dv) to attend",
                            .more_outputs = ", index [Hq, Tq, top_pages]"},
                           call_quest),
        sparse_row<&moba>({.name = "moba",
                           .summary = "each query reads the blocks whose mean key it likes best",
                           .source = "Lu et al. 2025, MoBA, eq. 3-6",
                           .cost = "Tk/block·D per query to rank, top_k·block·(D+Dv) to attend",
                           .more_outputs = ", index [Hq, Tq, top_k]"},
                          call_moba),
        nsa_row(),
    };
}

}  // namespace rows

ATTENTA_END
