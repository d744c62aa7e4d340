#include <attenta/sparse/pages/minference.hpp>
#include <attenta/sparse/pages/moba.hpp>
#include <attenta/sparse/pages/nsa.hpp>
#include <attenta/sparse/pages/quest.hpp>
#include <attenta/sparse/pages/xattention.hpp>

#include <algorithm>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

/// index [heads, blocks of queries, width], padded with -1.
void give_blocks(Arguments& args, const KeyLists& lists, std::int64_t width) {
    const KeyLists::Shape& shape = lists.shape();
    std::int64_t* index = args.output<std::int64_t>("index", {shape.heads, shape.rows(), width});
    for (std::int64_t n = 0; n < lists.lists(); ++n, index += width) {
        std::fill_n(index, width, -1);
        std::int64_t count = 0;
        for (const KeyRun& run : lists.runs(n))
            for (std::int64_t key = run.start; key < run.start + run.count; key += shape.unit)
                index[count++] = key / shape.unit;
    }
}

void call_quest(Arguments& args, Context& context) {
    call_selecting<&quest>(args, context, [&](const KeyLists& lists, const QuestOptions& options) {
        give_index(args, "index", lists, options.top_pages, {.unit = options.page_size});
    });
}

void call_moba(Arguments& args, Context& context) {
    call_selecting<&moba>(args, context, [&](const KeyLists& lists, const MobaOptions& options) {
        give_index(args, "index", lists, options.top_k, {.unit = options.block_size});
    });
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

void call_xattention(Arguments& args, Context& context) {
    const auto x = args.inputs<XattentionInputs>();
    const auto options = args.options<XattentionOptions>();
    const auto blocks = [&](std::int64_t n) { return (n + options.block_size - 1) / options.block_size; };
    const SparseOutputs plain = sparse_outputs(args, x.q, x.kv);
    XattentionOutputs out{plain};
    if (options.block_size > 0)
        out.block_share = args.output<float>("block_share", {x.q.heads, blocks(x.q.tokens), blocks(x.kv.length(0))});
    KeyLists lists;
    out.lists = &lists;
    xattention(x, out, options, context);
    give_blocks(args, lists, blocks(x.kv.length(0)));
}

/// [Hq, the longest list], padded with -1.
void give_lines(Arguments& args, std::string_view output, const std::vector<std::vector<std::int64_t>>& lines) {
    std::size_t width = 0;
    for (const auto& list : lines) width = std::max(width, list.size());
    const auto heads = static_cast<std::int64_t>(lines.size());
    std::int64_t* to = args.output<std::int64_t>(output, {heads, static_cast<std::int64_t>(width)});
    for (const auto& list : lines) {
        std::fill(std::copy(list.begin(), list.end(), to), to + width, -1);
        to += width;
    }
}

void call_minference(Arguments& args, Context& context) {
    const auto x = args.inputs<MinferenceInputs>();
    const auto options = args.options<MinferenceOptions>();
    MinferenceSelection found;
    minference(x, {sparse_outputs(args, x.q, x.kv), &found}, options, context);
    if (options.pattern == MinferencePattern::block_sparse) return give_blocks(args, found.blocks, options.top_k);
    if (options.pattern == MinferencePattern::a_shape) return;
    give_lines(args, "columns", found.columns);
    give_lines(args, "offsets", found.offsets);
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
        sparse_row<&xattention>({.name = "xattention",
                                 .summary = "blocks that hold most of the attention, by antidiagonals of tiles",
                                 .source = "Xu et al. 2025, XAttention",
                                 .cost = "Tq·Tk·D/stride to rank, block²·(D+Dv) for each block",
                                 .more_outputs = ", block_share [Hq, nq, nk], index [Hq, nq, nk]"},
                                call_xattention),
        sparse_row<&minference>(
            {.name = "minference",
             .summary = "A shape, columns and diagonals, or blocks of prefill: one pattern per head",
             .source = "Jiang et al. 2024, MInference 1.0, section 3.2",
             .cost = "last_q·T·D to rank, then the pairs that are read",
             .more_outputs = ", columns [Hq, columns], offsets [Hq, offsets], index [Hq, nb, top_k]"},
            call_minference),
    };
}

}  // namespace rows

ATTENTA_END
