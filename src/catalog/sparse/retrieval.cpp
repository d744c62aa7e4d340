#include <attenta/sparse/retrieval/infini_retrieval.hpp>
#include <attenta/sparse/retrieval/knn_memory.hpp>
#include <attenta/sparse/retrieval/loki.hpp>
#include <attenta/sparse/retrieval/modality_adaptive.hpp>
#include <attenta/sparse/retrieval/retrieval.hpp>
#include <attenta/sparse/retrieval/retrieval_index.hpp>
#include <attenta/sparse/retrieval/triangular_spans.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_loki(Arguments& args, Context& context) {
    call_selecting<&loki>(args, context, [&](const KeyLists& lists, const LokiOptions& options) {
        give_index(args, "index", lists, options.read_keys(lists.shape().keys));
    });
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

/// What builds an index and what searches it.
struct IndexOptions {
    RetrievalIndexOptions build;
    IndexSearchOptions search;

    static void fields(auto&& visit, auto& o) {
        RetrievalIndexOptions::fields(visit, o.build);
        IndexSearchOptions::fields(visit, o.search);
    }
};

/// Beside the exact best keys what the index of these options achieves: its graph is the definition's, and so are its
/// recall and its share of keys whose score was taken.
void call_retrieval_index(Arguments& args, Context& context) {
    const auto matrix = [&](std::string_view name) {
        const auto a = args.array<float>(name, {any_size, any_size});
        return hnd(a.data, 1, a.shape[0], a.shape[1]);
    };
    const Heads<const float> keys = matrix("keys"), train = matrix("train_queries"), q = matrix("queries");
    const auto options = args.options<IndexOptions>();
    const std::int64_t top_k = options.search.top_k;
    if (top_k > keys.tokens)
        args.refuse("top_k is " + std::to_string(top_k) + ", needs at most the " + std::to_string(keys.tokens) +
                    " keys");
    const KvView kv = KvView::of(keys, keys);
    const RetrievalIndex index({.kv = kv, .end = keys.tokens}, {train.data, 1, train.tokens, train.dim}, options.build,
                               context);
    std::vector<std::int64_t> found(static_cast<std::size_t>(q.tokens * std::max<std::int64_t>(top_k, 0))),
        scanned(static_cast<std::size_t>(q.tokens));
    index.search(q, options.search, found.data(), context, scanned.data());
    KeyLists exact;
    select::Request r{.function = "retrieval_index", .q = q, .keys = kv};
    r.visible_keys = r.units = {.count = keys.tokens, .causal = false};
    r.top = top_k;
    r.cache_keys = keys.tokens;
    select::check(r);
    select::run(r, exact, context);
    give_index(args, "index", exact, top_k, {}, true);
    double recall = 0, share = 0;
    for (std::int64_t n = 0; n < q.tokens; ++n) {
        std::int64_t hits = 0;
        for (const KeyRun& run : exact.runs(n))
            hits += std::count_if(found.begin() + n * top_k, found.begin() + (n + 1) * top_k,
                                  [&](std::int64_t key) { return key >= run.start && key < run.start + run.count; });
        recall += static_cast<double>(hits) / static_cast<double>(exact.keys_of(n));
        share += static_cast<double>(scanned[static_cast<std::size_t>(n)]) / static_cast<double>(keys.tokens);
    }
    *args.output<std::int64_t>("entry", {1}) = index.entry();
    *args.output<float>("recall_reference", {1}) = static_cast<float>(recall / static_cast<double>(q.tokens));
    *args.output<float>("scanned_reference", {1}) = static_cast<float>(share / static_cast<double>(q.tokens));
}

void call_infini_retrieval(Arguments& args, Context& context) {
    const Heads<const float> k = args.heads("k");
    const InfiniRetrievalInputs x{args.heads("q"), KvView::of(k, k), args.vector<std::int64_t>("sentence")};
    const auto options = args.options<InfiniRetrievalOptions>();
    const auto n = static_cast<std::int64_t>(x.sentence.size());
    const std::int64_t chosen = std::clamp<std::int64_t>(options.top_k, 0, n);
    InfiniRetrievalOutputs out;
    out.score = args.output<float>("score", {n});
    out.index = args.output<std::int64_t>("index", {chosen});
    out.keep = args.output<std::int64_t>("keep", {n});
    infini_retrieval(x, out, options, context);
}

void call_modality_adaptive(Arguments& args, Context& context) {
    const auto x = args.inputs<ModalityAdaptiveInputs>();
    const auto options = args.options<ModalityAdaptiveOptions>();
    ModalityState state;
    ModalityAdaptiveOutputs out{sparse_outputs(args, x.q, x.kv), args.output<std::int64_t>("used", {x.q.tokens}),
                                &state};
    modality_adaptive(x, out, options, context);
    const auto give = [&](std::string_view name, const std::vector<std::int64_t>& tokens) {
        std::copy(tokens.begin(), tokens.end(), args.output<std::int64_t>(name, {std::ssize(tokens)}));
    };
    give("secondary", state.secondary());
    give("core", state.core());
    // Heads keep as many tokens each, though others.
    std::int64_t* text = args.output<std::int64_t>("text", {x.kv.heads, std::ssize(state.text(0))});
    for (std::int64_t g = 0; g < x.kv.heads; ++g) text = std::copy(state.text(g).begin(), state.text(g).end(), text);
}

void call_triangular_spans(Arguments& args, Context& context) {
    const auto x = args.inputs<TriangularSpansInputs>();
    const auto options = args.options<TriangularSpansOptions>();
    std::vector<TokenSpan> spans;
    std::vector<std::vector<std::int64_t>> chosen;
    const std::int64_t local = std::clamp<std::int64_t>(options.local, 0, x.q.tokens);
    TriangularSpansOutputs out;
    out.o = args.output("o", x.q.heads, local, x.kv.v.dim);
    out.lse = args.output<float>("lse", {x.q.heads, local});
    out.spans = &spans;
    out.chosen = &chosen;
    triangular_spans(x, out, options, context);
    const std::int64_t n = std::ssize(spans);
    std::int64_t *ends = args.output<std::int64_t>("spans", {n, 2}),
                 *tokens = args.output<std::int64_t>("index_tokens", {n, options.index_vectors}),
                 *best = args.output<std::int64_t>("chosen", {x.kv.heads, options.top_spans});
    float* score = args.output<float>("span_score", {n});
    const auto give_row = [](const std::vector<std::int64_t>& row, std::int64_t width, std::int64_t*& to) {
        std::fill(std::copy(row.begin(), row.end(), to), to + width, -1);
        to += width;
    };
    for (const TokenSpan& span : spans) {
        *ends++ = span.first;
        *ends++ = span.last;
        *score++ = static_cast<float>(span.score);
        give_row(span.index_tokens, options.index_vectors, tokens);
    }
    for (const auto& of_head : chosen) give_row(of_head, options.top_spans, best);
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
        {.name = "retrieval_index",
         .family = "sparse",
         .summary = "a graph over keys in which queries find the best ones without looking at all",
         .source = "Liu et al. 2024, RetrievalAttention, section 3.2; Chen et al. 2024, RoarGraph",
         .cost = "N·build_queue·degree·D to build, search_queue·degree·D per query",
         .inputs = "keys [N, D], train_queries [M, D], queries [Q, D]",
         .outputs = "index [Q, top_k], entry [1], recall_reference [1], scanned_reference [1]",
         .parameters = parameters_of<IndexOptions>,
         .call = call_retrieval_index},
        sparse_row<&modality_adaptive>(
            {.name = "modality_adaptive",
             .summary = "steps read a core of the image tokens and the text that was liked",
             .source = "Zhang et al. 2024, A-VL",
             .cost = "T·(D+Dv) per row of the prompt, kept·(D+Dv) per step",
             .more_outputs = ", used [Tq], secondary [images kept], core [images read], text [Hkv, kept]"},
            call_modality_adaptive),
        {.name = "triangular_spans",
         .family = "sparse",
         .summary = "a chunk reads the spans of the past that fit it best (a reading of an open definition)",
         .source = "Tang et al. 2024, Ltri-LLM",
         .cost = "W²·D per head and window of the map, then what is read",
         .inputs = text_of(InputList(TriangularSpansInputs{})),
         .outputs =
             "o [Hq, local, Dv], lse [Hq, local], spans [n, 2], span_score [n], index_tokens [n, index_vectors], "
             "chosen [Hkv, top_spans]",
         .parameters = parameters_of<TriangularSpansOptions>,
         .call = call_triangular_spans},
        {.name = "infini_retrieval",
         .family = "sparse",
         .summary = "the attention of a question scores the tokens of a context",
         .source = "Ye et al. 2025, Infinite Retrieval, section 3",
         .cost = "question rows·T·D per head",
         .inputs = "q [Hq, T, D], k [Hkv, T, D], sentence [N]",
         .outputs = "score [N], index [top_k or N], keep [N]",
         .parameters = parameters_of<InfiniRetrievalOptions>,
         .call = call_infini_retrieval},
    };
}

}  // namespace rows

ATTENTA_END
