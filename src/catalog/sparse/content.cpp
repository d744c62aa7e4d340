#include <attenta/sparse/content/combiner.hpp>
#include <attenta/sparse/content/head_gating.hpp>
#include <attenta/sparse/content/landmark.hpp>
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

void call_head_gating(Arguments& args, Context& context) {
    const auto x = args.inputs<HeadGatingInputs>();
    const auto options = args.options<HeadGatingOptions>();
    const HeadGatingOutputs out{sparse_outputs(args, x.q, x.kv),
                                args.output<std::int64_t>("long_context", {x.q.heads, x.q.tokens}),
                                args.output<float>("local_share", {x.q.heads, x.q.tokens})};
    head_gating(x, out, options, context);
}

void call_landmark(Arguments& args, Context& context) {
    const auto x = args.inputs<LandmarkInputs>();
    const auto options = args.options<LandmarkOptions>();
    KeyLists lists;
    SparseOutputs out = sparse_outputs(args, x.q, x.kv);
    out.lists = &lists;
    landmark(x, out, options, context);
    if (!options.top_k) return;
    const auto own_block = [](std::int64_t position, std::int64_t size) { return position / size * size; };
    give_index(args, "index", lists, *options.top_k,
               {.unit = options.block_size, .end = own_block, .parameter = options.block_size});
}

}  // namespace

std::vector<Mechanism> content_rows() {
    return {
        sparse_row<&combiner>({.name = "combiner",
                               .summary = "near keys directly, all others through regions that are pooled",
                               .source = "Ren et al. 2021, Combiner, sections 3-4",
                               .cost = "fixed T·(S+T/S)·(D+Dv), logsparse T·log T·(D+Dv) time"}),
        sparse_row<&head_gating>({.name = "head_gating",
                                  .summary = "near keys alone where they are expected to hold enough of the weight",
                                  .source = "Donhauser et al. 2025, QAdA, section 4",
                                  .cost = "(sink+window)·(D+Dv) + D² per query, T·(D+Dv) where that is not enough",
                                  .more_outputs = ", long_context [Hq, Tq], local_share [Hq, Tq]"},
                                 call_head_gating),
        sparse_row<&landmark>({.name = "landmark",
                               .summary = "the weight of a block's last token is spread over the block",
                               .source = "Mohtashami and Jaggi 2023, Landmark Attention, section 3",
                               .cost = "T·(2D+Dv) per query; with top_k T/B·D to rank, top_k·B·(2D+Dv) to attend",
                               .more_outputs = ", index [Hq, Tq, top_k]"},
                              call_landmark),
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
