#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/sparse/key_rows.hpp>
#include <attenta/sparse/retrieval/exact_weights.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>
#include <attenta/sparse/retrieval/triangular_spans.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_triangular(const TriangularSpansOptions& options, std::int64_t tokens) {
    const char* const f = "triangular_spans";
    check_scale(f, options.scale);
    if (options.local < 1 || options.local >= tokens)
        fail(f, "local is " + std::to_string(options.local) + ", needs 1 to " + std::to_string(tokens - 1) +
                    " of the " + std::to_string(tokens) + " tokens");
    if (!std::isfinite(options.theta)) fail(f, "theta is " + std::to_string(options.theta) + ", needs a finite number");
    require_at_least(f, "index_vectors", options.index_vectors, 1);
    require_at_least(f, "top_spans", options.top_spans, 0);
    require_at_least(f, "sink", options.sink, 0);
    require_at_least(f, "map_window", options.map_window.value_or(1), 1);
    require_at_least(f, "min_span", options.min_span, 1);
    require_at_least(f, "max_span", options.max_span.value_or(1), 1);
}

/// The attention map of a window of the past, [width, width], heads summed.
class WindowMap {
public:
    WindowMap(Heads<const float> q, const KvView& kv, std::int64_t first, std::int64_t width,
              const TriangularSpansOptions& options, Context& context)
        : kv_heads_(kv.heads), width_(width), maps_(static_cast<std::size_t>(kv.heads * width * width)) {
        attention::Request r;
        r.function = "triangular_spans";
        r.q = q.slice(first, width);
        r.kv = kv;
        r.scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
        r.q_offset = first;
        r.masks = {Causal{}, KeysFrom{first}};
        ExactWeights(r, context).run({edit(edits::GroupMaps{maps_.data(), q.heads / kv.heads, first, width})});
    }

    double at(std::int64_t i, std::int64_t j) const {
        double sum = 0;
        for (std::int64_t g = 0; g < kv_heads_; ++g)
            sum += double{maps_[static_cast<std::size_t>((g * width_ + i) * width_ + j)]};
        return sum;
    }

private:
    std::int64_t kv_heads_, width_;
    std::vector<float> maps_;  ///< [Hkv, width, width]
};

/// Spans of S > 0 of the window's tokens, of any overlap, the best first.
inline std::vector<TokenSpan> positive_spans(const WindowMap& map, std::int64_t width,
                                             const TriangularSpansOptions& options) {
    std::vector<TokenSpan> spans;
    std::vector<double> triangle(static_cast<std::size_t>(width));  // S[x, y] of all x, for one y after the other
    for (std::int64_t y = 0; y < width; ++y) {
        double row = 0;
        for (std::int64_t x = y; x >= 0; --x) {
            row += map.at(y, x) - options.theta;
            const double s = triangle[static_cast<std::size_t>(x)] += row;
            const std::int64_t length = y - x + 1;
            if (s > 0 && length >= options.min_span && length <= options.max_span.value_or(width))
                spans.push_back({x, y, s, {}});
        }
    }
    std::sort(spans.begin(), spans.end(), [](const TokenSpan& a, const TokenSpan& b) {
        if (a.score != b.score) return a.score > b.score;
        return std::pair(a.first, a.last) < std::pair(b.first, b.last);
    });
    return spans;
}

/// Of spans, the best first, those that overlap no better one, in order; and what is left between them.
inline std::vector<TokenSpan> divided(const std::vector<TokenSpan>& best_first, std::int64_t width) {
    std::map<std::int64_t, TokenSpan> kept;  // by the first token
    for (const TokenSpan& span : best_first) {
        const auto next = kept.upper_bound(span.last);
        if (next == kept.begin() || std::prev(next)->second.last < span.first)
            kept.emplace_hint(next, span.first, span);
    }
    std::vector<TokenSpan> all;
    std::int64_t at = 0;
    for (const auto& [first, span] : kept) {
        if (first > at) all.push_back({at, first - 1, 0, {}});
        all.push_back(span);
        at = span.last + 1;
    }
    if (at < width) all.push_back({at, width - 1, 0, {}});
    return all;
}

/// Tokens of a span with the most attention from inside it.
inline std::vector<std::int64_t> index_tokens_of(const TokenSpan& span, const WindowMap& map, std::int64_t count) {
    std::vector<double> received(static_cast<std::size_t>(span.last - span.first + 1));
    for (std::int64_t i = span.first; i <= span.last; ++i)
        for (std::int64_t j = span.first; j <= i; ++j)
            received[static_cast<std::size_t>(j - span.first)] += map.at(i, j);
    std::vector<std::int64_t> tokens = top_indices(received, count);
    for (std::int64_t& token : tokens) token += span.first;
    return tokens;
}

/// The spans that fit best to the mean query of a K/V head's group in the chunk.
inline std::vector<std::int64_t> best_spans(const TriangularSpansInputs& x, const std::vector<TokenSpan>& spans,
                                            std::int64_t kv_head, const TriangularSpansOptions& options) {
    const std::int64_t group = x.q.heads / x.kv.heads;
    std::vector<double> mean(static_cast<std::size_t>(x.q.dim)), fits;
    for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h)
        for (std::int64_t t = x.q.tokens - options.local; t < x.q.tokens; ++t)
            for (std::size_t c = 0; c < mean.size(); ++c)
                mean[c] += double{x.q.row(h, t)[c]} / static_cast<double>(group * options.local);
    std::vector<float> key(mean.size());
    for (const TokenSpan& span : spans) {
        double& fit = fits.emplace_back(-std::numeric_limits<double>::infinity());
        for (const std::int64_t j : span.index_tokens) {
            read_key(x.kv, kv_head, j, key.data());
            double dot = 0;
            for (std::size_t c = 0; c < mean.size(); ++c) dot += mean[c] * double{key[c]};
            fit = std::max(fit, dot);
        }
    }
    return top_indices(fits, options.top_spans);
}

inline void check_spans(const std::vector<TokenSpan>& spans, std::int64_t past) {
    std::int64_t at = 0;
    for (const TokenSpan& s : spans) {
        const bool inside = std::all_of(s.index_tokens.begin(), s.index_tokens.end(),
                                        [&](std::int64_t j) { return j >= s.first && j <= s.last; });
        if (s.first < at || s.last < s.first || s.last >= past || !inside)
            fail("triangular_spans", "spans have tokens " + std::to_string(s.first) + " to " + std::to_string(s.last) +
                                         ", needs spans in order, of the past " + std::to_string(past) +
                                         " tokens, with their index tokens inside");
        at = s.last + 1;
    }
}

}  // namespace detail

ATTENTA_INLINE std::vector<TokenSpan> find_spans(Heads<const float> q, const KvView& kv, std::int64_t past,
                                                 const TriangularSpansOptions& options, Context& context) {
    if (past < 0 || past > q.tokens || kv.sequences != 1 || past > kv.length(0) || kv.positions)
        fail("find_spans", "past is " + std::to_string(past) +
                               ", needs 0 to the tokens of q and of one sequence of k, " + std::to_string(q.tokens) +
                               ", in their order");
    std::vector<TokenSpan> spans;
    const std::int64_t window = std::max<std::int64_t>(1, options.map_window.value_or(past));
    for (std::int64_t first = 0; first < past; first += window) {
        const std::int64_t width = std::min(window, past - first);
        const detail::WindowMap map(q, kv, first, width, options, context);
        for (TokenSpan span : detail::divided(detail::positive_spans(map, width, options), width)) {
            span.index_tokens = detail::index_tokens_of(span, map, options.index_vectors);
            for (std::int64_t& token : span.index_tokens) token += first;
            span.first += first;
            span.last += first;
            spans.push_back(std::move(span));
        }
    }
    return spans;
}

ATTENTA_INLINE void triangular_spans_lists(const TriangularSpansInputs& x, const std::vector<TokenSpan>& spans,
                                           KeyLists& lists, const TriangularSpansOptions& options,
                                           std::vector<std::vector<std::int64_t>>* chosen) {
    detail::check_triangular(options, x.q.tokens);
    const std::int64_t past = x.q.tokens - options.local;
    detail::check_spans(spans, past);
    lists.reset({.heads = x.kv.heads, .queries = options.local, .keys = x.q.tokens, .query_block = options.local});
    if (chosen) chosen->clear();
    for (std::int64_t g = 0; g < x.kv.heads; ++g) {
        std::vector<std::int64_t> best = detail::best_spans(x, spans, g, options);
        std::int64_t at = std::min(options.sink, past);
        lists.add(0, at);
        for (const std::int64_t n : best) {
            const TokenSpan& span = spans[static_cast<std::size_t>(n)];
            at = std::max(at, span.first);
            lists.add(std::min(at, span.last + 1), std::max<std::int64_t>(0, span.last + 1 - at));
            at = std::max(at, span.last + 1);
        }
        lists.add(past, options.local);
        lists.end_list();
        if (chosen) chosen->push_back(std::move(best));
    }
}

ATTENTA_INLINE void triangular_spans(const TriangularSpansInputs& x, const TriangularSpansOutputs& out,
                                     const TriangularSpansOptions& options, Context& context) {
    const char* const f = "triangular_spans";
    if (x.q.data) detail::check_triangular(options, x.q.tokens);
    const std::int64_t past = x.q.tokens - options.local;
    const auto call = detail::check_sparse(f, InputList(x), x.q.data ? x.q.slice(past, options.local) : x.q, x.kv, out,
                                           options.scale, Positions::last, options.check_data, context);
    if (x.kv.positions) fail(f, "kv has positions of its own, needs keys in their order");
    if (x.spans) detail::check_spans(*x.spans, past);
    std::vector<TokenSpan> own;
    if (!x.spans) own = find_spans(x.q, x.kv, past, options, context);
    detail::CallLists lists(call);
    triangular_spans_lists(x, x.spans ? *x.spans : own, *lists, options, out.chosen);
    if (out.spans) *out.spans = x.spans ? *x.spans : std::move(own);
    call.attend(*lists, Causal{});
}

ATTENTA_END
