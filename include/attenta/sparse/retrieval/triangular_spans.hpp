// Spans of the past that hang together, of which a chunk of queries reads the best. Tang et al. 2024, "Ltri-LLM: Streaming Long
// Context Inference with Training-Free Dynamic Triangular Attention Pattern".
//
//   A        = Σ_heads softmax rows of the past, causal, window after window of the map
//   S[x, y]  = Σ_{x <= j <= i <= y} (A_ij − theta)
//   spans    of S > 0, the best first, those that overlap no better one; what is left between them are spans of score 0
//   fit      of a span: max over its index tokens j of the mean over the chunk's queries of the K/V head's group of q·k_j;
//            index tokens are those with the largest column sums of A inside the span
//   A chunk's query reads the first tokens, the best fitting spans and the chunk up to itself.
//
// The paper leaves the base theta, the suppression and the index vectors open; this is the best reading of it. Time W²·D per
// head for a window of W tokens and W² for its spans, then those that are read.
#pragma once

#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// Tokens first .. last.
struct TokenSpan {
    std::int64_t first = 0, last = 0;
    double score = 0;                        ///< 0 between spans
    std::vector<std::int64_t> index_tokens;  ///< ascending
};

/// q, k and v of all T tokens, of which the chunk is the last options.local. `spans` of the past, or null: they are found in
/// this call.
struct TriangularSpansInputs {
    Heads<const float> q;
    KvView kv;
    const std::vector<TokenSpan>* spans = nullptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
    }
};

struct TriangularSpansOptions {
    std::int64_t local = 0;                       ///< tokens of the chunk, 1 to T − 1
    double theta = 0;                             ///< base of the map
    std::int64_t index_vectors = 1;               ///< index tokens of a span
    std::int64_t top_spans = 1;                   ///< spans that a chunk reads
    std::int64_t sink = 0;                        ///< first tokens of the past, which are always read
    std::optional<std::int64_t> map_window = {};  ///< tokens of a window of the map, default all of the past
    std::int64_t min_span = 2;                    ///< tokens of a span at least
    std::optional<std::int64_t> max_span = {};    ///< tokens of a span at most, default any number
    std::optional<float> scale = {};              ///< default 1/sqrt(D)
    bool check_data = false;                      ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("local", o.local, "tokens of the chunk, 1 to T − 1");
        visit("theta", o.theta, "base of the map");
        visit("index_vectors", o.index_vectors, "index tokens of a span");
        visit("top_spans", o.top_spans, "spans that a chunk reads");
        visit("sink", o.sink, "first tokens of the past, which are always read");
        visit("map_window", o.map_window, "tokens of a window of the map, default all of the past");
        visit("min_span", o.min_span, "tokens of a span at least");
        visit("max_span", o.max_span, "tokens of a span at most, default any number");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, local, Dv] and lse [Hq, local].
struct TriangularSpansOutputs : SparseOutputs {
    std::vector<TokenSpan>* spans = nullptr;  ///< of the past, in order; or null
    std::vector<std::vector<std::int64_t>>* chosen =
        nullptr;  ///< of each K/V head: numbers of spans, ascending; or null
};

/// The spans of the first `past` tokens. Kept, they are good for later chunks, as long as windows of the map are whole.
/// Throws Error on shapes and options that do not fit.
std::vector<TokenSpan> find_spans(Heads<const float> q, const KvView& kv, std::int64_t past,
                                  const TriangularSpansOptions& options, Context& context = default_context());

/// The selection alone: a list for each K/V head, which all queries of the chunk share, the chunk itself among its keys.
/// `chosen` takes the spans. Throws Error on shapes and options that do not fit.
void triangular_spans_lists(const TriangularSpansInputs& x, const std::vector<TokenSpan>& spans, KeyLists& lists,
                            const TriangularSpansOptions& options,
                            std::vector<std::vector<std::int64_t>>* chosen = nullptr);

/// Throws Error on shapes and options that do not fit; nothing is written then.
void triangular_spans(const TriangularSpansInputs& x, const TriangularSpansOutputs& out,
                      const TriangularSpansOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/retrieval/kernels.inl>
#include <attenta/sparse/retrieval/triangular_spans.inl>
#endif
