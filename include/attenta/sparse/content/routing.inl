#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/content/routing.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline std::int64_t routing_window(const RoutingInputs& x, const RoutingOptions& options) {
    return options.window.value_or(std::max<std::int64_t>(1, x.q.tokens / std::max<std::int64_t>(1, x.mu.tokens)));
}

inline void check_routing(const RoutingInputs& x, const RoutingOptions& o) {
    const char* const f = "routing";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    for (const auto& [name, n] : {std::pair{"q has no heads", x.q.heads},
                                  {"q has no tokens", x.q.tokens},
                                  {"q has no features", x.q.dim},
                                  {"v has no features", x.v.dim},
                                  {"mu has no centroids", x.mu.tokens}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    if (const std::int64_t w = routing_window(x, o); w < 1 || w > x.q.tokens)
        fail(f, "window is " + checks::text(w) + ", needs 1 to the " + checks::text(x.q.tokens) + " tokens of q");
    if (o.scale && (!is_finite(*o.scale) || *o.scale <= 0))
        fail(f, "scale is " + std::to_string(*o.scale) + ", needs a finite number above 0");
    if (!is_finite(o.scatter_eps) || o.scatter_eps < 0)
        fail(f, "scatter_eps is " + std::to_string(o.scatter_eps) + ", needs a finite number from 0 up");
    if (!(o.decay >= 0 && o.decay <= 1)) fail(f, "decay is " + std::to_string(o.decay) + ", needs 0 to 1");
    if (o.check_data) check_numbers(f, inputs);
}

/// Normalised rows, in memory of their own.
class RoutingRows {
public:
    RoutingRows(Heads<const float> x, RoutingNorm norm, Context& context)
        : rows_(static_cast<std::size_t>(x.heads * x.tokens * x.dim)),
          view_(hnd(rows_.data(), x.heads, x.tokens, x.dim)) {
        run_tasks(context.executor(), x.heads * x.tokens, [&](std::int64_t n, int) {
            const std::int64_t h = n / x.tokens, t = n % x.tokens;
            normalise(x.row(h, t), view_.row(h, t), x.dim, norm);
        });
    }
    RoutingRows(const RoutingRows&) = delete;
    RoutingRows& operator=(const RoutingRows&) = delete;

    Heads<const float> view() const { return view_; }

private:
    static void normalise(const float* x, float* to, std::int64_t dim, RoutingNorm norm) {
        double mean = 0, squares = 0;
        if (norm == RoutingNorm::layer) {
            for (std::int64_t c = 0; c < dim; ++c) mean += double{x[c]};
            mean /= static_cast<double>(dim);
        }
        for (std::int64_t c = 0; c < dim; ++c) squares += (double{x[c]} - mean) * (double{x[c]} - mean);
        const double length = norm == RoutingNorm::layer ? std::sqrt(squares / static_cast<double>(dim) + 1e-6)
                                                         : std::max(std::sqrt(squares), 1e-12);
        for (std::int64_t c = 0; c < dim; ++c) to[c] = static_cast<float>((double{x[c]} - mean) / length);
    }

    std::vector<float> rows_;
    Heads<float> view_;
};

/// The normalised tokens of a call; keys are the queries where they are not given.
struct RoutingTokens {
    RoutingRows queries;
    std::optional<RoutingRows> keys;

    RoutingTokens(const RoutingInputs& x, RoutingNorm norm, Context& context) : queries(x.q, norm, context) {
        if (x.k.data) keys.emplace(x.k, norm, context);
    }
    Heads<const float> q() const { return queries.view(); }
    Heads<const float> k() const { return keys ? keys->view() : queries.view(); }
};

/// For each row of `of` the `top` best of `among`, by their products.
inline void choose_rows(Heads<const float> of, Heads<const float> among, std::int64_t top, KeyLists& lists,
                        Context& context) {
    select::Request r{.function = "routing", .q = of, .keys = KvView::of(among, among), .heads = of.heads};
    r.visible_keys = r.units = {.count = among.tokens, .causal = false};
    r.top = top;
    r.cache_keys = among.tokens;
    select::check(r);
    select::run(r, lists, context);
    for (std::int64_t n = 0; n < lists.lists(); ++n)
        if (lists.keys_of(n) != top)
            fail("routing", "products of tokens and centroids at " +
                                checks::shape(n / of.tokens, n % of.tokens, lists.keys_of(n)) +
                                " are no numbers, needs numbers");
}

inline void choose_members(const RoutingInputs& x, const RoutingTokens& normalised, KeyLists& queries, KeyLists& keys,
                           const RoutingOptions& options, Context& context) {
    const std::int64_t window = routing_window(x, options);
    choose_rows(x.mu, normalised.q(), window, queries, context);
    if (x.k.data)
        choose_rows(x.mu, normalised.k(), window, keys, context);
    else
        keys = queries;
}

/// What rows of clusters see: `position` is the token of each.
struct RoutingOrder {
    const std::int32_t* position;  ///< [heads, rows]
    std::int64_t rows, window, tokens;
    bool causal, self_mask;

    Spans spans(const QueryRow& r) const {
        const std::int64_t own = position[r.head * rows + r.index], end = causal ? own + 1 : tokens;
        // The first of a cluster has nobody before it; members are in order.
        const bool alone = causal ? r.index % window == 0 : window == 1;
        return self_mask && !alone ? Spans{{0, own}, {own + 1, end}} : Spans{{0, end}, {}};
    }
};

/// Attention inside the clusters, whose queries are gathered: rows c · window … of a head are the members of c.
class RoutingClusters {
public:
    RoutingClusters(const RoutingInputs& x, const KeyLists& members, const RoutingOptions& options, Context& context)
        : x_(x),
          options_(options),
          context_(&context),
          window_(routing_window(x, options)),
          rows_(x.mu.tokens * window_) {
        const auto all = static_cast<std::size_t>(x.q.heads * rows_);
        position_.reserve(all);
        for (std::int64_t n = 0; n < members.lists(); ++n)
            for (const KeyRun& run : members.runs(n))
                for (std::int32_t i = 0; i < run.count; ++i) position_.push_back(run.start + i);
        q_.resize(all * static_cast<std::size_t>(x.q.dim));
        o_.resize(all * static_cast<std::size_t>(x.v.dim));
        statistics_.resize(all);
    }

    void attend(Heads<const float> q, Heads<const float> k, const KeyLists& members) {
        const Heads<float> gathered = hnd(q_.data(), q.heads, rows_, q.dim),
                           o = hnd(o_.data(), q.heads, rows_, x_.v.dim);
        for (std::int64_t h = 0; h < q.heads; ++h)
            for (std::int64_t r = 0; r < rows_; ++r) std::copy_n(q.row(h, token(h, r)), q.dim, gathered.row(h, r));
        KeyLists lists({.heads = q.heads, .queries = rows_, .keys = k.tokens, .query_block = window_});
        for (std::int64_t n = 0; n < members.lists(); ++n) {
            for (const KeyRun& run : members.runs(n)) lists.add(run.start, run.count);
            lists.end_list();
        }
        attention::Request r;
        r.function = "routing";
        r.q = gathered;
        r.kv = KvView::of(k, x_.v);
        r.lists = {&lists, 1};
        r.scale = options_.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
        r.q_offset = 0;
        r.masks = {RoutingOrder{position_.data(), rows_, window_, k.tokens, options_.causal,
                                options_.self_mask && !x_.k.data}};
        attention::plan(r, *context_).run(r.q, r.kv, o, nullptr, {.found = statistics_.data()});
    }

    /// The mean of the results of each token's clusters.
    void scatter(const RoutingOutputs& out) const {
        run_tasks(context_->executor(), x_.q.heads, [&](std::int64_t h, int) {
            std::vector<std::int64_t> count(static_cast<std::size_t>(x_.q.tokens));
            for (std::int64_t t = 0; t < x_.q.tokens; ++t) std::fill_n(out.o.row(h, t), x_.v.dim, 0.f);
            for (std::int64_t r = 0; r < rows_; ++r) {
                if (statistics_[static_cast<std::size_t>(h * rows_ + r)].empty()) continue;
                const float* const from = o_.data() + (h * rows_ + r) * x_.v.dim;
                float* const to = out.o.row(h, token(h, r));
                for (std::int64_t c = 0; c < x_.v.dim; ++c) to[c] += from[c];
                ++count[static_cast<std::size_t>(token(h, r))];
            }
            for (std::int64_t t = 0; t < x_.q.tokens; ++t) {
                const auto clusters = static_cast<float>(count[static_cast<std::size_t>(t)]);
                if (clusters > 0)
                    for (std::int64_t c = 0; c < x_.v.dim; ++c) out.o.row(h, t)[c] /= clusters + options_.scatter_eps;
            }
            if (out.count) std::copy(count.begin(), count.end(), out.count + h * x_.q.tokens);
        });
    }

private:
    std::int64_t token(std::int64_t h, std::int64_t r) const {
        return position_[static_cast<std::size_t>(h * rows_ + r)];
    }

    const RoutingInputs& x_;
    const RoutingOptions& options_;
    Context* context_;
    std::int64_t window_, rows_;
    std::vector<std::int32_t> position_;  ///< [H, C · window]
    std::vector<float> q_, o_;
    std::vector<RowStatistics> statistics_;
};

/// Tokens of each centroid, by number and sum.
struct RoutingAssigned {
    std::vector<double> number, sum;  ///< [H, C], [H, C, D]

    RoutingAssigned(const RoutingInputs& x)
        : number(static_cast<std::size_t>(x.mu.heads * x.mu.tokens)),
          sum(number.size() * static_cast<std::size_t>(x.mu.dim)) {}
    void add(Heads<const float> rows, Heads<const float> mu, Context& context) {
        KeyLists nearest;
        choose_rows(rows, mu, 1, nearest, context);
        for (std::int64_t n = 0; n < nearest.lists(); ++n) {
            const std::int64_t h = n / rows.tokens, centroid = h * mu.tokens + nearest.runs(n)[0].start;
            number[static_cast<std::size_t>(centroid)] += 1;
            const float* const row = rows.row(h, n % rows.tokens);
            for (std::int64_t c = 0; c < mu.dim; ++c)
                sum[static_cast<std::size_t>(centroid * mu.dim + c)] += double{row[c]};
        }
    }
};

inline void check_routing_update(const RoutingInputs& x, const RoutingCentroids& out, const RoutingOptions& o) {
    const char* const f = "routing";
    check_routing(x, o);
    const std::array read = {NamedBytes{"q", bytes_of(x.q)}, NamedBytes{"k", bytes_of(x.k)}};
    const auto check = [&](const char* name, Heads<float> to, Heads<const float> old) {
        checks::check_output(f, x.mu.heads, x.mu.tokens, x.mu.dim, to, name);
        checks::check_pointer(f, name, to.data, sizeof(float), true);
        checks::check_apart(f, name, bytes_of(to), read);
        if (to.data != old.data)
            checks::check_apart(f, name, bytes_of(to), std::array{NamedBytes{name, bytes_of(old)}});
    };
    check("mu", out.mu, x.mu);
    if (o.update != RoutingUpdate::count) return;
    if (!x.ema_count.data || !x.ema_sum.data)
        fail(f,
             std::string(x.ema_count.data ? "ema_sum" : "ema_count") + " is null, needs a tensor for the update count");
    check("ema_sum", out.ema_sum, x.ema_sum);
    checks::check_pointer(f, "ema_count", out.ema_count, sizeof(float), true);
}

}  // namespace detail

ATTENTA_INLINE void routing_lists(const RoutingInputs& x, KeyLists& queries, KeyLists& keys,
                                  const RoutingOptions& options, Context& context) {
    detail::check_routing(x, options);
    detail::choose_members(x, detail::RoutingTokens(x, options.norm, context), queries, keys, options, context);
}

ATTENTA_INLINE void routing(const RoutingInputs& x, const RoutingOutputs& out, const RoutingOptions& options,
                            Context& context) {
    detail::check_routing(x, options);
    const Heads<const float> k = x.k.data ? x.k : x.q;
    const std::array others = {NamedBytes{"mu", bytes_of(x.mu)}};
    attention::check_tensors("routing", x.q, KvView::of(k, x.v), &out.o, nullptr, others);
    const detail::RoutingTokens normalised(x, options.norm, context);
    KeyLists queries, keys;
    detail::choose_members(x, normalised, queries, keys, options, context);
    detail::RoutingClusters clusters(x, queries, options, context);
    clusters.attend(options.logit_norm == RoutingLogits::qk ? normalised.q() : x.q,
                    options.logit_norm == RoutingLogits::none ? k : normalised.k(), keys);
    clusters.scatter(out);
    if (out.queries) *out.queries = std::move(queries);
    if (out.keys) *out.keys = std::move(keys);
}

ATTENTA_INLINE void routing_update(const RoutingInputs& x, const RoutingCentroids& out, const RoutingOptions& options,
                                   Context& context) {
    detail::check_routing_update(x, out, options);
    detail::RoutingAssigned assigned(x);
    const detail::RoutingTokens normalised(x, options.norm, context);
    assigned.add(normalised.q(), x.mu, context);
    if (x.k.data) assigned.add(normalised.k(), x.mu, context);
    const double keep{options.decay}, take = 1 - keep;
    const std::int64_t centroids = x.mu.tokens, dim = x.mu.dim;
    for (std::int64_t h = 0; h < x.mu.heads; ++h) {
        const double* const number = assigned.number.data() + h * centroids;
        std::vector<double> average(static_cast<std::size_t>(centroids));
        double all = 0;
        for (std::int64_t c = 0; options.update == RoutingUpdate::count && c < centroids; ++c) {
            double& n = average[static_cast<std::size_t>(c)];
            n = keep * double{x.ema_count.row(h, c)[0]} + take * number[c];
            all += n;
            out.ema_count[h * centroids + c] = static_cast<float>(n);
        }
        for (std::int64_t c = 0; c < centroids; ++c) {
            const double* const sum = assigned.sum.data() + (h * centroids + c) * dim;
            double length = 0;
            for (std::int64_t d = 0; d < dim; ++d) length += sum[d] * sum[d];
            length = std::max(std::sqrt(length), 1e-12);
            for (std::int64_t d = 0; d < dim; ++d) {
                const double old{x.mu.row(h, c)[d]};
                double next = 0;
                if (options.update == RoutingUpdate::sum) {  // Σ k̂ is Σ q̂ where keys are the queries
                    next = keep * old + take / 2 * sum[d] * (x.k.data ? 1 : 2);
                } else if (options.update == RoutingUpdate::unit) {
                    next = keep * old + take * (number[c] == 0 ? old : sum[d] / length);
                } else {
                    const double total = keep * double{x.ema_sum.row(h, c)[d]} + take * sum[d];
                    const double share =
                        (average[static_cast<std::size_t>(c)] + 1e-5) / (all + static_cast<double>(centroids) * 1e-5);
                    next = total / (share * all);
                    out.ema_sum.row(h, c)[d] = static_cast<float>(total);
                }
                out.mu.row(h, c)[d] = static_cast<float>(next);
            }
        }
    }
}

ATTENTA_END
