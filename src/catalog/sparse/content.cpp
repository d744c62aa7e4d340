#include <attenta/sparse/content/combiner.hpp>
#include <attenta/sparse/content/head_gating.hpp>
#include <attenta/sparse/content/landmark.hpp>
#include <attenta/sparse/content/routing.hpp>
#include <attenta/sparse/content/social.hpp>
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
    call_selecting<&landmark>(args, context, [&](const KeyLists& lists, const LandmarkOptions& options) {
        if (!options.top_k) return;
        const auto own_block = [](std::int64_t position, std::int64_t size) { return position / size * size; };
        give_index(args, "index", lists, *options.top_k,
                   {.unit = options.block_size, .end = own_block, .parameter = options.block_size});
    });
}

void call_social(Arguments& args, Context& context) {
    const auto x = args.inputs<SocialInputs>();
    const auto options = args.options<SocialOptions>();
    KeyLists lists;
    SocialOutputs out{sparse_outputs(args, x.q, x.kv),
                      args.output<std::int64_t>("circle_nodes", {options.circles, options.circle_size})};
    out.lists = &lists;
    social(x, out, options, context);
    std::int64_t* const indptr = args.output<std::int64_t>("indptr", {lists.lists() + 1});
    std::int64_t* index = args.output<std::int64_t>("indices", {lists.size()});
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        indptr[n + 1] = lists.first_key(n) + lists.keys_of(n);
        for (const KeyRun& run : lists.runs(n))
            for (std::int64_t i = 0; i < run.count; ++i) *index++ = run.start + i;
    }
}

void call_routing(Arguments& args, Context& context) {
    const auto x = args.inputs<RoutingInputs>();
    const auto options = args.options<RoutingOptions>();
    const std::int64_t heads = x.q.heads, tokens = x.q.tokens, centroids = x.mu.tokens, dim = x.q.dim;
    KeyLists queries, keys;
    routing(x,
            {args.output("o", heads, tokens, x.v.dim), args.output<std::int64_t>("count", {heads, tokens}), &queries,
             &keys},
            options, context);
    const std::int64_t window = options.window.value_or(std::max<std::int64_t>(1, tokens / centroids));
    give_index(args, "index", queries, window);
    if (x.k.data) give_index(args, "k_index", keys, window);
    RoutingCentroids next{args.output("mu_new", heads, centroids, dim)};
    if (options.update == RoutingUpdate::count) {
        next.ema_count = args.output<float>("ema_count_new", {heads, centroids});
        next.ema_sum = args.output("ema_sum_new", heads, centroids, dim);
    }
    routing_update(x, next, options, context);
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
        with_outputs(sparse_row<&routing>({.name = "routing",
                                           .summary = "tokens attend inside the clusters of their nearest centroids",
                                           .source = "Roy et al. 2020, Routing Transformers, section 4",
                                           .cost = "T·C·D to rank, C·w²·(D+Dv) to attend, per head"},
                                          call_routing),
                     "o [H, T, Dv], count [H, T], index [H, C, w], k_index [H, C, w], mu_new [H, C, D], "
                     "ema_count_new [H, C], ema_sum_new [H, C, D]"),
        sparse_row<&social>({.name = "social",
                             .summary = "a random graph of tokens, drawn by distance and centrality",
                             .source = "Zhou et al. 2022, Socialformer, section 3",
                             .cost = "T² to draw edges, edges·(D+Dv) per head to attend",
                             .more_outputs = ", indptr [P], indices [N], circle_nodes [circles, circle_size]"},
                            call_social),
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
