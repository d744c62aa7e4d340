#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/sparse/content/combiner.hpp>
#include <attenta/sparse/key_rows.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Keys of the query's own segment, `causal` those up to it.
struct OwnSegment {
    std::int64_t segment;
    bool causal;

    std::int64_t begin(std::int64_t position) const { return position / segment * segment; }
    std::int64_t end(std::int64_t position) const { return causal ? position + 1 : begin(position) + segment; }
    Spans spans(const QueryRow& r) const { return {{begin(r.position), end(r.position)}, {}}; }
    Interval hull(const QueryRow& a, const QueryRow& b) const { return {begin(a.position), end(b.position)}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (intersect(k, hull(a, b)).empty()) return Cover::none;
        return k.begin >= begin(b.position) && k.end <= end(a.position) ? Cover::all : Cover::some;
    }
};

/// Tokens that are pooled together, and which of them each query reads.
struct CombinerRegions {
    std::vector<Interval> spans;
    KeyLists read;

    static CombinerRegions fixed(std::int64_t tokens, std::int64_t segment, const CombinerOptions& options) {
        const std::int64_t segments = blocks_of(tokens, segment);
        // Nothing is later than the last one.
        const std::int64_t count = options.causal ? segments - 1 : segments;
        CombinerRegions r;
        for (std::int64_t s = 0; s < count; ++s) r.spans.push_back({s * segment, std::min((s + 1) * segment, tokens)});
        r.read.reset({.heads = 1, .queries = tokens, .keys = count, .query_block = segment});
        for (std::int64_t s = 0; s < segments; ++s) {
            const bool own = !options.causal && options.own_summary;
            r.read.add(0, own ? s + 1 : s);
            if (!options.causal) r.read.add(s + 1, segments - s - 1);
            r.read.end_list();
        }
        return r;
    }

    /// Blocks of one token are read directly, and of the others those before an odd one: only bits that are set count.
    static CombinerRegions logsparse(std::int64_t tokens) {
        CombinerRegions r;
        std::vector<std::int64_t> first_of_level = {0};
        for (std::int64_t size = 2; size < tokens; size *= 2) {
            first_of_level.push_back(static_cast<std::int64_t>(r.spans.size()));
            for (std::int64_t begin = 0; begin + size < tokens; begin += 2 * size)
                r.spans.push_back({begin, begin + size});
        }
        r.read.reset({.heads = 1, .queries = tokens, .keys = static_cast<std::int64_t>(r.spans.size())});
        for (std::int64_t i = 0; i < tokens; ++i) {
            for (std::size_t level = 1; level < first_of_level.size(); ++level)
                if (i >> level & 1) r.read.add(first_of_level[level] + (i >> level) / 2, 1);
            r.read.end_list();
        }
        return r;
    }
};

/// to = pool of rows [span) of dim numbers; read(row, numbers) reads one.
template <class Read>
void pool_region(CombinerSummary summary, Interval span, std::int64_t dim, Read&& read, float* to) {
    const bool relu = summary >= CombinerSummary::relu_max;
    const bool largest = summary == CombinerSummary::identity_max || summary == CombinerSummary::relu_max;
    const bool mean = summary == CombinerSummary::identity_mean || summary == CombinerSummary::relu_mean;
    std::vector<double> pooled(static_cast<std::size_t>(dim));
    std::vector<float> row(static_cast<std::size_t>(dim));
    for (std::int64_t j = span.begin; j < span.end; ++j) {
        read(j, row.data());
        for (std::size_t c = 0; c < row.size(); ++c) {
            const double x = double{relu ? std::max(row[c], 0.f) : row[c]};
            pooled[c] = j == span.begin ? x : largest ? std::max(pooled[c], x) : pooled[c] + x;
        }
    }
    const double count = mean ? static_cast<double>(span.end - span.begin) : 1.0;
    for (std::size_t c = 0; c < row.size(); ++c) to[c] = static_cast<float>(pooled[c] / count);
}

/// Keys and values of regions, which are those of query heads, for the pooled query is theirs.
class CombinerTable {
public:
    CombinerTable(const SparseCall& call, const CombinerRegions& regions, CombinerSummary summary)
        : call_(call), spans_(regions.spans), count_(static_cast<std::int64_t>(spans_.size())) {
        const auto numbers = [&](std::int64_t dim) { return static_cast<std::size_t>(call.q.heads * count_ * dim); };
        queries_.resize(numbers(call.q.dim));
        keys_.resize(numbers(call.q.dim));
        values_.resize(numbers(call.kv.v.dim));
        pool(summary);
        find_values();
    }

    KvView view() { return KvView::of(rows(keys_, call_.q.dim), rows(values_, call_.kv.v.dim)); }

private:
    Heads<float> rows(std::vector<float>& x, std::int64_t dim) { return hnd(x.data(), call_.q.heads, count_, dim); }

    void pool(CombinerSummary summary) {
        const Heads<float> queries = rows(queries_, call_.q.dim), keys = rows(keys_, call_.q.dim);
        const std::int64_t group = call_.group(), dim = call_.q.dim;
        run_tasks(call_.context->executor(), call_.kv.heads * count_, [&](std::int64_t n, int) {
            const std::int64_t kv_head = n / count_, region = n % count_, first = kv_head * group;
            const Interval span = spans_[static_cast<std::size_t>(region)];
            const auto key = [&](std::int64_t j, float* to) { read_key(call_.kv, kv_head, j, to); };
            pool_region(summary, span, dim, key, keys.row(first, region));
            for (std::int64_t h = first; h < first + group; ++h) {
                const auto query = [&](std::int64_t j, float* to) { std::copy_n(call_.q.row(h, j), dim, to); };
                pool_region(summary, span, dim, query, queries.row(h, region));
                if (h > first) std::copy_n(keys.row(first, region), dim, keys.row(h, region));
            }
        });
    }

    /// A region's value is what its pooled query reads in it.
    void find_values() {
        KeyLists own({.heads = 1, .queries = count_, .keys = call_.keys()});
        for (const Interval& span : spans_) {
            own.add(span.begin, span.end - span.begin);
            own.end_list();
        }
        attention::Request r = call_.request();
        r.q = rows(queries_, call_.q.dim);
        r.lists = {&own, 1};
        attention::plan(r, *call_.context).run(r.q, r.kv, rows(values_, call_.kv.v.dim), nullptr);
    }

    const SparseCall& call_;
    const std::vector<Interval>& spans_;
    std::int64_t count_;
    std::vector<float> queries_, keys_, values_;  ///< [Hq, regions, dim]
};

inline void check_combiner(const CombinerOptions& options) {
    if (options.segment) require_at_least("combiner", "segment", *options.segment, 1);
    if (options.variant == CombinerVariant::logsparse && !options.causal)
        fail("combiner", "causal is false, needs true where the variant is logsparse");
}

}  // namespace detail

ATTENTA_INLINE void combiner(const CombinerInputs& x, const SparseOutputs& out, const CombinerOptions& options,
                             Context& context) {
    const auto call = detail::check_sparse("combiner", x, out, options, Positions::same, context);
    detail::check_combiner(options);
    const std::int64_t tokens = x.q.tokens;
    const bool fixed = options.variant == CombinerVariant::fixed;
    const auto root = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(tokens))));
    const std::int64_t segment = std::min(options.segment.value_or(root), tokens);
    const auto regions =
        fixed ? detail::CombinerRegions::fixed(tokens, segment, options) : detail::CombinerRegions::logsparse(tokens);
    // logsparse reads a region of one token as that key: an odd token and the one before it.
    const detail::OwnSegment own{fixed ? segment : 2, options.causal};
    if (regions.spans.empty()) return call.attend(own);
    detail::CombinerTable table(call, regions, options.summary);
    detail::SparseParts parts(call, 2);
    attention::Request direct = parts.request();
    direct.masks = {own};
    parts.add(direct);
    attention::Request others = parts.request();
    others.kv = table.view();
    others.lists = {&regions.read, 1};
    others.q_offset = 0;
    parts.add(others);
    parts.merge();
}

ATTENTA_END
