#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/dense/kernels.hpp>
#include <attenta/engine/select/kernels.hpp>
#include <attenta/variants/network/pair_scores.hpp>
#include <attenta/variants/network/variational.hpp>
#include <attenta/variants/network/variational_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct VariationalMemory {
    TanhPairScores tanh;
    std::vector<float> folded, scores, weights, query_half, value_half, context_half;
};

/// Room for the keys of a row and for a block of pairs, of one thread.
struct VariationalScratch {
    static constexpr std::int64_t pairs = 128;

    const float** values;
    float *hidden, *logits, *top, *sum, *expected, *log_weights, *log_posterior;
    double* cumulative;
    std::int32_t *chosen, *ranked;
    std::byte* product;

    VariationalScratch(Arena& arena, std::int64_t keys, std::int64_t draws, std::int64_t hidden_width,
                       std::int64_t outcomes) {
        values = arena.take<const float*>(pairs);
        hidden = arena.take<float>(pairs * hidden_width);
        logits = arena.take<float>(pairs * outcomes);
        top = arena.take<float>(outcomes);
        sum = arena.take<float>(outcomes);
        expected = arena.take<float>(outcomes);
        log_weights = arena.take<float>(std::max(pairs, draws));
        log_posterior = arena.take<float>(keys);
        cumulative = arena.take<double>(keys);
        chosen = arena.take<std::int32_t>(std::max(keys, draws));
        ranked = arena.take<std::int32_t>(2 * keys);
        Arena counting(nullptr);
        dense::ProductScratch{counting};
        product = arena.take<std::byte>(counting.used());
    }
};

inline void check_alignment_scores(const VariationalInputs& x, VariationalScore score, const CheckedCall& check) {
    switch (score) {
        case VariationalScore::additive:
            if (!x.w_q || !x.w_k || x.v_a.empty())
                check.refuse(std::string(!x.w_q   ? "w_q"
                                         : !x.w_k ? "w_k"
                                                  : "v_a") +
                             " is null, score additive needs it");
            check.scratch("w_q q", x.q.heads, x.q.tokens, x.w_q.rows);
            check.scratch("w_k k", x.k.heads, x.k.tokens, x.w_k.rows);
            break;
        case VariationalScore::general:
            if (!x.w_a) check.refuse("w_a is null, score general needs it");
            check.scratch("qᵀ w_a", x.q.heads, x.q.tokens, x.k.dim);
            break;
        case VariationalScore::dot:
            if (x.q.dim != x.k.dim)
                check.refuse("k has " + checks::text(x.k.dim) + " features, score dot needs the " +
                             checks::text(x.q.dim) + " of q");
            break;
    }
}

inline void check_variational(const VariationalInputs& x, const VariationalOutputs& out,
                              const VariationalOptions& options) {
    const char* const f = "variational";
    CheckedCall check(f, InputList(x));
    check.groups(x.q, x.k.heads);
    check_alignment_scores(x, options.score, check);
    if (x.w_c.cols != x.q.dim + x.v.dim)
        check.refuse("w_c has " + checks::text(x.w_c.cols) + " columns, needs " + checks::text(x.q.dim + x.v.dim) +
                     ", those of q and v");
    check.at_least("top_k", options.top_k, 0);
    if (x.k.tokens > std::numeric_limits<std::int32_t>::max() / 2)
        check.refuse("k has " + checks::text(x.k.tokens) + " tokens, needs fewer than 2^30");
    if (options.mode == VariationalMode::sample) check_draws(f, x.u);
    if (!x.posterior.data && (out.elbo.data || out.kl)) check.refuse("elbo and kl need a posterior, posterior is null");
    check.scratch("w_c q", x.q.heads, x.q.tokens, x.w_c.rows);
    check.scratch("w_c v", x.v.heads, x.v.tokens, x.w_c.rows);
    const std::int64_t heads = x.q.heads, queries = x.q.tokens;
    check.output("o", out.o, heads, queries, x.v.dim);
    check.output("log_p", out.log_p, heads, queries, x.w_y.rows);
    check.output("weights", out.weights, heads, queries, x.k.tokens);
    if (options.mode == VariationalMode::argmax || options.mode == VariationalMode::sample)
        check.output("index", out.index, heads, queries,
                     options.mode == VariationalMode::sample ? x.u.dim : std::int64_t{1});
    if (out.elbo.data) check.output("elbo", out.elbo, heads, queries, x.w_y.rows);
    check.output("kl", out.kl, heads, queries, 1);
}

/// A call, range by range of its queries.
class VariationalCall {
public:
    VariationalCall(const VariationalInputs& x, const VariationalOutputs& out, const VariationalOptions& options,
                    VariationalMemory& memory, Context& context)
        : x_(x), out_(out), options_(options), m_(memory), context_(context) {}

    void run() {
        prepare();
        for (std::int64_t begin = 0; begin < x_.q.tokens; begin += range_)
            run_range(begin, std::min(range_, x_.q.tokens - begin));
    }

private:
    static constexpr std::int64_t keys_of_task = 512, scores_at_once = std::int64_t{1} << 20;

    /// What all ranges share.
    void prepare() {
        const std::int64_t heads = x_.q.heads, queries = x_.q.tokens, width = x_.w_c.rows;
        stride_ = round_up(x_.k.tokens, 16);
        range_ = std::clamp<std::int64_t>(scores_at_once / (heads * stride_), 1, queries);
        m_.scores.resize(static_cast<std::size_t>(heads * range_ * stride_));
        m_.weights.resize(m_.scores.size());
        m_.query_half.resize(static_cast<std::size_t>(heads * queries * width));
        for (std::int64_t row = 0; row < heads * queries; ++row)
            std::copy(x_.b_c.begin(), x_.b_c.end(), m_.query_half.begin() + row * width);
        dense::multiply(dense::matrices_of(x_.q), columns_of(x_.w_c, 0, x_.q.dim),
                        {m_.query_half.data(), heads, queries, width}, {.b_transposed = true, .add = true}, context_);
        if (options_.mode != VariationalMode::soft || x_.posterior.data) {
            m_.value_half.resize(static_cast<std::size_t>(x_.v.heads * x_.v.tokens * width));
            dense::multiply(dense::matrices_of(x_.v), columns_of(x_.w_c, x_.q.dim, x_.v.dim),
                            {m_.value_half.data(), x_.v.heads, x_.v.tokens, width}, {.b_transposed = true}, context_);
        }
        if (options_.mode == VariationalMode::soft)
            m_.context_half.resize(static_cast<std::size_t>(heads * range_ * width));
        if (options_.score == VariationalScore::additive) m_.tanh.make({x_.w_q, x_.w_k, x_.v_a}, x_.q, x_.k, context_);
        if (options_.score == VariationalScore::general) {
            m_.folded.resize(static_cast<std::size_t>(heads * queries * x_.k.dim));
            dense::multiply(dense::matrices_of(x_.q), x_.w_a, {m_.folded.data(), heads, queries, x_.k.dim}, {},
                            context_);
        }
    }

    void run_range(std::int64_t begin, std::int64_t count) {
        begin_ = begin, count_ = count;
        const std::int64_t heads = x_.q.heads, keys = x_.k.tokens;
        make_scores();
        Arena counting(nullptr);
        scratch(counting);
        const std::int64_t bytes = round_up(counting.used(), 64);
        std::byte* memory = reserve(bytes);
        run_tasks(context_.executor(), heads * count, [&](std::int64_t row, int slot) {
            Arena arena(memory + slot * bytes);
            make_prior(row, scratch(arena));
        });
        const Matrices<const float> weights{m_.weights.data(), heads, count, keys, stride_};
        const Heads<float> o = out_.o.slice(begin, count);
        dense::multiply(weights, dense::matrices_of(x_.v), dense::matrices_of(o), {}, context_);
        if (options_.mode == VariationalMode::soft)
            dense::multiply(dense::matrices_of(Heads<const float>(o)), columns_of(x_.w_c, x_.q.dim, x_.v.dim),
                            {m_.context_half.data(), heads, count, x_.w_c.rows}, {.b_transposed = true}, context_);
        memory = reserve(bytes);
        run_tasks(context_.executor(), heads * count, [&](std::int64_t row, int slot) {
            Arena arena(memory + slot * bytes);
            predict(row, scratch(arena));
        });
    }

    VariationalScratch scratch(Arena& arena) const { return {arena, x_.k.tokens, draws(), x_.w_c.rows, x_.w_y.rows}; }
    std::byte* reserve(std::int64_t bytes) {
        return context_.workspace().reserve(static_cast<std::size_t>(context_.executor().concurrency() * bytes));
    }
    std::int64_t draws() const { return options_.mode == VariationalMode::sample ? x_.u.dim : 1; }
    std::int64_t head(std::int64_t row) const { return row / count_; }
    std::int64_t query(std::int64_t row) const { return begin_ + row % count_; }
    float* scores(std::int64_t row) { return m_.scores.data() + row * stride_; }
    float* weights(std::int64_t row) { return m_.weights.data() + row * stride_; }
    const float* value_half(std::int64_t row, std::int64_t key) const {
        const std::int64_t h = head(row) / (x_.q.heads / x_.v.heads);
        return m_.value_half.data() + (h * x_.v.tokens + key) * x_.w_c.rows;
    }

    void make_scores() {
        const std::int64_t heads = x_.q.heads, keys = x_.k.tokens;
        if (options_.score != VariationalScore::additive) {
            const bool folded = options_.score == VariationalScore::general;
            const Heads<const float> q =
                folded ? hnd(static_cast<const float*>(m_.folded.data()), heads, x_.q.tokens, x_.k.dim) : x_.q;
            return dense::multiply(dense::matrices_of(q.slice(begin_, count_)), dense::matrices_of(x_.k),
                                   {m_.scores.data(), heads, count_, keys, stride_}, {.b_transposed = true}, context_);
        }
        const std::int64_t parts = ceil_div(keys, keys_of_task);
        run_tasks(context_.executor(), heads * count_ * parts, [&](std::int64_t i, int) {
            const std::int64_t row = i / parts, first = i % parts * keys_of_task;
            network::tanh_scores_of_row()(m_.tanh.scores(), head(row), query(row), first,
                                          std::min(keys_of_task, keys - first), scores(row) + first);
        });
    }

    /// Scores become log α, with α beside them.
    void make_prior(std::int64_t row, const VariationalScratch& s) {
        const std::int64_t keys = x_.k.tokens, top = options_.top_k;
        float *const x = scores(row), *const w = weights(row);
        float least = minus_infinity;
        if (top > 0 && top < keys) {
            const std::int64_t n = select::top_of_row()(x, keys, top, s.chosen, s.ranked);
            if (n == top) least = std::numeric_limits<float>::infinity();
            for (std::int64_t i = 0; n == top && i < n; ++i) least = std::min(least, x[s.chosen[i]]);
        }
        network::prior_of_row()(x, keys, least, w);
        if (out_.weights) std::copy_n(w, keys, out_.weights + (head(row) * x_.q.tokens + query(row)) * keys);
    }

    /// Keys of argmax or of the draws; false where weights are not numbers.
    bool choose(std::int64_t row, const VariationalScratch& s) {
        const std::int64_t keys = x_.k.tokens;
        const float* const w = weights(row);
        if (options_.mode == VariationalMode::argmax)
            return select::top_of_row()(scores(row), keys, 1, s.chosen, s.ranked) == 1;
        double sum = 0;
        std::int32_t last = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
            s.cumulative[j] = sum += static_cast<double>(w[j]);
            if (w[j] > 0.f) last = static_cast<std::int32_t>(j);
        }
        const float* const u = x_.u.row(head(row), query(row));
        for (std::int64_t n = 0; n < draws(); ++n) {
            const auto at = std::upper_bound(s.cumulative, s.cumulative + keys, static_cast<double>(u[n]));
            s.chosen[n] = std::min(last, static_cast<std::int32_t>(at - s.cumulative));
        }
        return !std::isnan(sum);
    }

    void predict(std::int64_t row, const VariationalScratch& s) {
        const std::int64_t outcomes = x_.w_y.rows;
        float* const log_p = out_.log_p.row(head(row), query(row));
        std::fill_n(s.top, outcomes, minus_infinity);
        for (float* const sums : {s.sum, s.expected}) std::fill_n(sums, outcomes, 0.f);
        const bool chooses = options_.mode == VariationalMode::argmax || options_.mode == VariationalMode::sample;
        const bool chosen = chooses && choose(row, s), all = options_.mode == VariationalMode::exact;
        if (x_.posterior.data) normalise_posterior(row, s);
        if (options_.mode == VariationalMode::soft) predict_context(row, s);
        if (chosen) predict_chosen(row, s);
        if (all || x_.posterior.data) predict_all(row, s, all);

        network::finish_mixture()(s.top, s.sum, log_p, outcomes);
        if (chooses && !chosen) std::fill_n(log_p, outcomes, std::numeric_limits<float>::quiet_NaN());
        if (chooses && out_.index)
            for (std::int64_t n = 0; n < draws(); ++n)
                out_.index[(head(row) * x_.q.tokens + query(row)) * draws() + n] = chosen ? s.chosen[n] : -1;
        if (x_.posterior.data) finish_bound(row, s);
    }

    /// One block of pairs with the halves that s.values point to.
    void predict_block(std::int64_t row, std::int64_t pairs, const float* log_weights, const float* log_posterior,
                       const VariationalScratch& s) {
        const std::int64_t width = x_.w_c.rows, outcomes = x_.w_y.rows;
        network::hidden_rows()(m_.query_half.data() + (head(row) * x_.q.tokens + query(row)) * width, s.values, pairs,
                               width, s.hidden);
        for (std::int64_t p = 0; p < pairs; ++p) std::copy(x_.b_y.begin(), x_.b_y.end(), s.logits + p * outcomes);
        for (std::int64_t y = 0; y < outcomes; y += dense::Product::most_columns) {
            dense::Product product{.a = s.hidden, .b = x_.w_y.row(0, y), .c = s.logits + y};
            product.m = pairs, product.n = std::min(dense::Product::most_columns, outcomes - y), product.k = width;
            product.a_stride = width, product.b_stride = x_.w_y.row_stride, product.c_stride = outcomes;
            product.b_transposed = product.add = true;
            dense::dense_product()(product, s.product);
        }
        network::mix_predictions()({s.logits, pairs, outcomes, log_weights, log_posterior, s.top, s.sum, s.expected});
    }

    void predict_context(std::int64_t row, const VariationalScratch& s) {
        s.values[0] = m_.context_half.data() + row * x_.w_c.rows;
        s.log_weights[0] = 0;
        predict_block(row, 1, s.log_weights, nullptr, s);
    }
    void predict_chosen(std::int64_t row, const VariationalScratch& s) {
        std::fill_n(s.log_weights, draws(), -std::log(static_cast<float>(draws())));
        for (std::int64_t begin = 0; begin < draws(); begin += VariationalScratch::pairs) {
            const std::int64_t pairs = std::min(VariationalScratch::pairs, draws() - begin);
            for (std::int64_t p = 0; p < pairs; ++p) s.values[p] = value_half(row, s.chosen[begin + p]);
            predict_block(row, pairs, s.log_weights + begin, nullptr, s);
        }
    }
    void predict_all(std::int64_t row, const VariationalScratch& s, bool weighed) {
        for (std::int64_t begin = 0; begin < x_.k.tokens; begin += VariationalScratch::pairs) {
            const std::int64_t pairs = std::min(VariationalScratch::pairs, x_.k.tokens - begin);
            for (std::int64_t p = 0; p < pairs; ++p) s.values[p] = value_half(row, begin + p);
            predict_block(row, pairs, weighed ? scores(row) + begin : nullptr,
                          x_.posterior.data ? s.log_posterior + begin : nullptr, s);
        }
    }

    void normalise_posterior(std::int64_t row, const VariationalScratch& s) {
        std::copy_n(x_.posterior.row(head(row), query(row)), x_.k.tokens, s.log_posterior);
        network::log_softmax_of_row()(s.log_posterior, x_.k.tokens);
    }
    void finish_bound(std::int64_t row, const VariationalScratch& s) {
        const float kl = network::divergence_of_row()(s.log_posterior, scores(row), x_.k.tokens);
        if (out_.kl) out_.kl[head(row) * x_.q.tokens + query(row)] = kl;
        if (!out_.elbo.data) return;
        float* const elbo = out_.elbo.row(head(row), query(row));
        for (std::int64_t y = 0; y < x_.w_y.rows; ++y) elbo[y] = s.expected[y] - kl;
    }

    const VariationalInputs& x_;
    const VariationalOutputs& out_;
    const VariationalOptions& options_;
    VariationalMemory& m_;
    Context& context_;
    std::int64_t stride_ = 0, range_ = 0, begin_ = 0, count_ = 0;
};

}  // namespace detail

ATTENTA_INLINE void variational(const VariationalInputs& x, const VariationalOutputs& out,
                                const VariationalOptions& options, Context& context) {
    detail::check_variational(x, out, options);
    const detail::CallMemory<detail::VariationalMemory> memory(x.q.tokens, context);
    detail::VariationalCall(x, out, options, *memory, context).run();
}

ATTENTA_END
