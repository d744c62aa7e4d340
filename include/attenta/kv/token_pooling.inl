#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/token_pooling.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

ATTENTA_BEGIN

namespace detail {

/// Columns [D, n] of vectors [n, D] of length 1.
inline std::vector<float> unit_columns(const char* function, Heads<const float> x, std::int64_t head) {
    const std::int64_t n = x.tokens;
    std::vector<float> columns(static_cast<std::size_t>(n * x.dim));
    for (std::int64_t i = 0; i < n; ++i) {
        const float* const row = x.row(head, i);
        const double norm = std::sqrt(
            std::inner_product(row, row + x.dim, row, 0., std::plus<>(), [](double a, double b) { return a * b; }));
        if (norm == 0)
            fail(function, "vector " + std::to_string(i) + " of those to cluster is zero, needs a direction");
        for (std::int64_t c = 0; c < x.dim; ++c)
            columns[static_cast<std::size_t>(c * n + i)] = static_cast<float>(double{row[c]} / norm);
    }
    return columns;
}

/// Turns columns X̂ᵀ [D, n] into R X̂ᵀ with RᵀR = X̂ᵀX̂ (Cholesky), whose distances are those of the rows of X̂X̂ᵀ:
/// row a minus row b is X̂(x̂_a − x̂_b).
inline void to_row_columns(std::vector<float>& columns, std::int64_t dim, std::int64_t n) {
    std::vector<double> gram(static_cast<std::size_t>(dim * dim));
    for (std::int64_t r = 0; r < dim; ++r)
        for (std::int64_t c = r; c < dim; ++c) {
            const float *const a = columns.data() + r * n, *const b = columns.data() + c * n;
            gram[static_cast<std::size_t>(r * dim + c)] = std::inner_product(
                a, a + n, b, 0., std::plus<>(), [](float p, float q) { return double{p} * double{q}; });
        }
    // Row r of R replaces that of the Gram matrix. A pivot of mere rounding belongs to a direction without vectors.
    const double least = 1e-13 * static_cast<double>(n);
    for (std::int64_t r = 0; r < dim; ++r) {
        double* const row = gram.data() + r * dim;
        const double pivot = row[r];
        for (std::int64_t c = r; c < dim; ++c) row[c] = pivot > least ? row[c] / std::sqrt(pivot) : 0;
        for (std::int64_t s = r + 1; s < dim; ++s)
            for (std::int64_t c = s; c < dim; ++c) gram[static_cast<std::size_t>(s * dim + c)] -= row[s] * row[c];
    }
    std::vector<double> sum(static_cast<std::size_t>(n));
    for (std::int64_t r = 0; r < dim; ++r) {  // row r needs columns from r on alone: in place
        std::fill(sum.begin(), sum.end(), 0.);
        for (std::int64_t c = r; c < dim; ++c)
            for (std::int64_t i = 0; i < n; ++i)
                sum[static_cast<std::size_t>(i)] +=
                    gram[static_cast<std::size_t>(r * dim + c)] * double{columns[static_cast<std::size_t>(c * n + i)]};
        std::transform(sum.begin(), sum.end(), columns.begin() + r * n, [](double y) { return static_cast<float>(y); });
    }
}

/// Clusters that are merged step by step.
class WardClusters {
public:
    /// Of vectors in columns [D, n].
    WardClusters(const char* function, Heads<const float> x, std::int64_t head, PoolingDistance distance)
        : n_(x.tokens),
          squares_(static_cast<std::size_t>(n_ * n_)),
          sizes_(static_cast<std::size_t>(n_), 1.f),
          alive_(static_cast<std::size_t>(n_)) {
        std::iota(alive_.begin(), alive_.end(), std::int64_t{0});
        std::vector<float> columns = unit_columns(function, x, head);
        if (distance == PoolingDistance::rows) to_row_columns(columns, x.dim, n_);
        measure(columns, x.dim);
        if (distance == PoolingDistance::cosine)  // |x̂_a − x̂_b|² = 2 d_ab
            for (float& s : squares_) s *= s / 4;
    }

    /// [n] numbers of `count` clusters, by their first members.
    std::vector<std::int64_t> labels(std::int64_t count) {
        std::vector<Merge> merges = all_merges();
        std::stable_sort(merges.begin(), merges.end(),
                         [](const Merge& a, const Merge& b) { return a.height < b.height; });
        std::vector<std::int64_t> labels(static_cast<std::size_t>(n_));
        std::int64_t* const first = labels.data();  // an earlier member of the same cluster; itself, if it is the first
        std::iota(first, first + n_, std::int64_t{0});
        const auto first_member = [&](std::int64_t i) {
            while (first[i] != i) i = first[i];
            return i;
        };
        for (const Merge& m : std::span(merges).first(static_cast<std::size_t>(n_ - count))) {
            const std::int64_t a = first_member(m.a), b = first_member(m.b);
            first[std::max(a, b)] = std::min(a, b);
        }
        std::int64_t next = 0;
        for (std::int64_t i = 0; i < n_; ++i) first[i] = first[i] == i ? next++ : first[first[i]];
        return labels;
    }

private:
    struct Merge {
        std::int64_t a, b;
        float height;
    };
    float* row(std::int64_t a) { return squares_.data() + a * n_; }

    /// Squared distances, in blocks of columns that stay in cache.
    void measure(const std::vector<float>& columns, std::int64_t dim) {
        constexpr std::int64_t block = 256;
        for (std::int64_t begin = 0; begin < n_; begin += block) {
            const std::int64_t count = std::min(block, n_ - begin);
            for (std::int64_t a = begin; a < n_; ++a) {
                float sum[block] = {};
                for (std::int64_t c = 0; c < dim; ++c) {
                    const float* const x = columns.data() + c * n_;
                    for (std::int64_t i = 0; i < count; ++i) sum[i] += (x[a] - x[begin + i]) * (x[a] - x[begin + i]);
                }
                for (std::int64_t i = 0; i < count; ++i) row(a)[begin + i] = row(begin + i)[a] = sum[i];
            }
        }
        for (std::int64_t a = 0; a < n_; ++a) row(a)[a] = std::numeric_limits<float>::infinity();
    }

    /// The whole tree. From any cluster on one goes to its nearest neighbour, until two are each other's: those are merged
    /// whoever else there is, as no merge brings clusters nearer.
    std::vector<Merge> all_merges() {
        std::vector<Merge> merges;
        std::vector<float> heights(static_cast<std::size_t>(n_));  // of the last merge of a cluster
        std::vector<std::int64_t> chain;
        while (alive_.size() > 1) {
            if (chain.empty()) chain.push_back(alive_.front());
            const std::int64_t a = chain.back(), before = chain.size() > 1 ? chain[chain.size() - 2] : a,
                               b = nearest(a, before);
            if (b != before) {
                chain.push_back(b);
                continue;
            }
            chain.resize(chain.size() - 2);
            // Rounding must not put a cluster below its parts.
            float& height = heights[static_cast<std::size_t>(a)];
            height = std::max({row(a)[b], height, heights[static_cast<std::size_t>(b)]});
            merges.push_back({a, b, height});
            merge(a, b);
        }
        return merges;
    }

    /// Of equally near ones `first`, so that a chain ends.
    std::int64_t nearest(std::int64_t a, std::int64_t first) {
        const float* const d = row(a);
        std::int64_t best = first;
        for (const std::int64_t b : alive_)
            if (d[b] < d[best]) best = b;
        return best;
    }

    /// b goes into a.
    void merge(std::int64_t a, std::int64_t b) {
        alive_.erase(std::lower_bound(alive_.begin(), alive_.end(), b));
        const float *const to_b = row(b), between = to_b[a];
        float *const to_a = row(a), *const size = sizes_.data();
        for (const std::int64_t c : alive_)
            if (c != a)
                to_a[c] = row(c)[a] =
                    ((size[a] + size[c]) * to_a[c] + (size[b] + size[c]) * to_b[c] - size[c] * between) /
                    (size[a] + size[b] + size[c]);
        size[a] += size[b];
    }

    std::int64_t n_;
    std::vector<float> squares_;       ///< [n, n] squared distances, of a cluster in the row of one member
    std::vector<float> sizes_;         ///< [n]
    std::vector<std::int64_t> alive_;  ///< those that are no part of another, ascending
};

inline void check_pooling(const char* function, const TokenPoolingOptions& o, std::int64_t recent) {
    for (const auto& [name, n, least] : {std::tuple{"pool_factor", o.pool_factor, std::int64_t{1}},
                                         {"protected", o.protected_tokens, std::int64_t{0}},
                                         {"recent", recent, std::int64_t{0}}})
        if (n < least)
            fail(function,
                 std::string(name) + " is " + std::to_string(n) + ", needs at least " + std::to_string(least));
}

inline void check_finite_rows(const char* function, const char* name, Heads<const float> x) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            if (!std::all_of(x.row(h, t), x.row(h, t) + x.dim, is_finite))
                fail(function, std::string(name) + " has a number at row " + std::to_string(t) +
                                   " that is not finite, needs finite numbers");
}

/// Labels [tokens] of a head of x whose first and last rows stay alone.
inline std::vector<std::int64_t> pool_labels(const char* function, Heads<const float> x, std::int64_t head,
                                             const TokenPoolingOptions& o, std::int64_t recent) {
    constexpr std::int64_t most = std::int64_t{1} << 16;  // 16 GiB of distances
    const std::int64_t first = std::min(o.protected_tokens, x.tokens),
                       last = std::max(first, x.tokens - std::min(recent, x.tokens)), n = last - first;
    if (n > most)
        fail(function, "there are " + std::to_string(n) + " vectors to cluster, needs at most " + std::to_string(most));
    std::vector<std::int64_t> labels(static_cast<std::size_t>(x.tokens));
    std::iota(labels.begin(), labels.end(), std::int64_t{0});
    if (n == 0) return labels;
    const std::int64_t count = std::max<std::int64_t>(n / o.pool_factor, 1);
    const auto inner = WardClusters(function, x.slice(first, n), head, o.distance).labels(count);
    std::transform(inner.begin(), inner.end(), labels.begin() + first, [&](std::int64_t l) { return first + l; });
    std::for_each(labels.begin() + last, labels.end(), [&](std::int64_t& l) { l -= n - count; });
    return labels;
}

inline std::vector<std::int64_t> label_counts(std::span<const std::int64_t> labels) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(*std::max_element(labels.begin(), labels.end()) + 1));
    for (const std::int64_t l : labels) ++counts[static_cast<std::size_t>(l)];
    return counts;
}

/// Means of the rows of a head that have a label, to [M, dim].
inline void pool_rows(Heads<const float> x, std::int64_t head, std::span<const std::int64_t> labels,
                      std::span<const std::int64_t> counts, float* to) {
    std::vector<double> sums(counts.size() * static_cast<std::size_t>(x.dim));
    for (std::int64_t t = 0; t < x.tokens; ++t)
        for (std::int64_t c = 0; c < x.dim; ++c)
            sums[static_cast<std::size_t>(labels[static_cast<std::size_t>(t)] * x.dim + c)] +=
                double{x.row(head, t)[c]};
    for (std::size_t m = 0; m < counts.size(); ++m)
        for (std::int64_t c = 0; c < x.dim; ++c)
            *to++ = static_cast<float>(sums[m * static_cast<std::size_t>(x.dim) + static_cast<std::size_t>(c)] /
                                       static_cast<double>(counts[m]));
}

}  // namespace detail

ATTENTA_INLINE PooledTokens token_pooling(Matrices<const float> x, const TokenPoolingOptions& options) {
    const char* const f = "token_pooling";
    if (!x.data || x.heads != 1 || x.rows < 1 || x.cols < 1)
        fail(f, "x is [" + std::to_string(x.heads) + ", " + std::to_string(x.rows) + ", " + std::to_string(x.cols) +
                    (x.data ? "]" : "] and null") + ", needs one matrix of at least one row and column");
    detail::check_pooling(f, options, 0);
    const Heads<const float> rows{x.data, 1, x.rows, x.cols, 0, x.row_stride};
    detail::check_finite_rows(f, "x", rows);
    PooledTokens result{{}, detail::pool_labels(f, rows, 0, options, 0)};
    const auto counts = detail::label_counts(result.labels);
    result.pooled.resize(counts.size() * static_cast<std::size_t>(x.cols));
    detail::pool_rows(rows, 0, result.labels, counts, result.pooled.data());
    return result;
}

ATTENTA_INLINE PooledLayer::PooledLayer(KvCache& cache, const PooledLayerOptions& options)
    : cache_(cache), options_(options) {
    detail::check_pooling("token_pooling", options, options.recent);
    const std::int64_t heads = cache.options().kv_heads;
    if (options.query_heads < 1 || options.query_heads % heads != 0)
        fail("token_pooling", "query_heads is " + std::to_string(options.query_heads) + ", needs a multiple of the " +
                                  std::to_string(heads) + " heads of the cache");
    if (options.scale && !is_finite(*options.scale))
        fail("token_pooling", "scale is " + std::to_string(*options.scale) + ", needs a finite number");
    const KvStorage& storage = cache.options().storage;
    if (options.count_bias && (storage.sink > 0 || storage.recent > 0))
        fail("token_pooling", "count_bias is given, needs a storage without sink and recent");
    if (cache.seen(options.layer) != 0)
        fail("token_pooling", "layer " + std::to_string(options.layer) + " holds tokens already, needs an empty one");
}

ATTENTA_INLINE void PooledLayer::prompt(Heads<const float> k, Heads<const float> v, Context& context) {
    const char* const f = "token_pooling";
    const CacheOptions& c = cache_.options();
    if (cache_.seen(options_.layer) != 0)
        fail(f, "layer " + std::to_string(options_.layer) + " holds tokens already, needs a prompt before any step");
    const auto check = [&](const char* name, Heads<const float> x, std::int64_t dim) {
        if (!x.data || x.heads != c.kv_heads || x.dim != dim || x.tokens < 1 || x.tokens != k.tokens)
            fail(f, std::string(name) + " is [" + std::to_string(x.heads) + ", " + std::to_string(x.tokens) + ", " +
                        std::to_string(x.dim) + "], needs [" + std::to_string(c.kv_heads) + ", " +
                        std::to_string(k.tokens) + ", " + std::to_string(dim) + "] and at least one token");
        detail::check_finite_rows(f, name, x);
    };
    check("k", k, c.dim);
    check("v", v, c.dim_v);
    std::vector<std::vector<std::int64_t>> labels(static_cast<std::size_t>(c.kv_heads));
    run_tasks(context.executor(), c.kv_heads, [&](std::int64_t g, int) {
        labels[static_cast<std::size_t>(g)] = detail::pool_labels(f, k, g, options_, options_.recent);
    });
    const auto entries = std::ssize(detail::label_counts(labels[0]));  // all heads have as many
    std::vector<float> pooled_k(static_cast<std::size_t>(c.kv_heads * entries * c.dim)),
        pooled_v(static_cast<std::size_t>(c.kv_heads * entries * c.dim_v));
    const std::int64_t group = options_.query_heads / c.kv_heads;
    bias_.assign(options_.count_bias ? static_cast<std::size_t>(options_.query_heads * c.capacity) : 0, 0.f);
    for (std::int64_t g = 0; g < c.kv_heads; ++g) {
        const auto& of_head = labels[static_cast<std::size_t>(g)];
        const auto counts = detail::label_counts(of_head);
        detail::pool_rows(k, g, of_head, counts, pooled_k.data() + g * entries * c.dim);
        detail::pool_rows(v, g, of_head, counts, pooled_v.data() + g * entries * c.dim_v);
        for (std::int64_t h = g * group; options_.count_bias && h < (g + 1) * group; ++h)
            for (std::int64_t m = 0; m < std::min(entries, c.capacity); ++m)
                bias_[static_cast<std::size_t>(h * c.capacity + m)] =
                    std::log(static_cast<float>(counts[static_cast<std::size_t>(m)]));
    }
    cache_.append(options_.layer, hnd<const float>(pooled_k.data(), c.kv_heads, entries, c.dim),
                  hnd<const float>(pooled_v.data(), c.kv_heads, entries, c.dim_v));
    labels_ = std::move(labels);
}

ATTENTA_INLINE void PooledLayer::step(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                                      Context& context) {
    const std::int64_t Hq = options_.query_heads, D = cache_.options().dim, capacity = cache_.options().capacity;
    if (q.heads != Hq || q.tokens != k.tokens || q.dim != D)
        fail("token_pooling", "q is [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + ", " +
                                  std::to_string(q.dim) + "], needs [" + std::to_string(Hq) + ", " +
                                  std::to_string(k.tokens) + ", " + std::to_string(D) + "]");
    cache_.check_append(options_.layer, k, v);
    checks::check_pointer("token_pooling", "q", q.data, sizeof(float), q.tokens > 0);
    checks::check_pointer("token_pooling", "o", o.data, sizeof(float), q.tokens > 0);
    checks::check_output("token_pooling", Hq, q.tokens, cache_.options().dim_v, o);
    const NamedBytes inputs[] = {{"q", bytes_of(q)}, {"k", bytes_of(k)}, {"v", bytes_of(v)}};
    checks::check_apart("token_pooling", "o", bytes_of(o), inputs);
    cache_.append(options_.layer, k, v);
    SoftmaxOptions options;
    options.scale = options_.scale;
    options.causal = true;
    if (!bias_.empty())
        options.bias = Matrices<const float>{bias_.data(), Hq, 1, cache_.size(options_.layer), capacity, capacity};
    cache_.attend(options_.layer, q, o, options, nullptr, context);
}

ATTENTA_END
