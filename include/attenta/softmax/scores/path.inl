#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/mask/masks.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/softmax/scores/path.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE void PathCache::grow(std::int64_t heads, std::int64_t query_heads, std::int64_t dim, std::int64_t dim_v,
                                    std::int64_t more) {
    if (tokens_ == 0) {
        *this = {};
        heads_ = heads, query_heads_ = query_heads, dim_ = dim, dim_v_ = dim_v;
    }
    if (tokens_ + more <= capacity_) return;
    const std::int64_t room = std::max(tokens_ + more, 2 * capacity_);
    const auto moved = [&](auto& old, std::int64_t rows, std::int64_t width) {
        std::remove_reference_t<decltype(old)> to(static_cast<std::size_t>(rows * room * width));
        for (std::int64_t h = 0; h < rows; ++h)
            std::copy_n(old.data() + h * capacity_ * width, tokens_ * width, to.data() + h * room * width);
        return to;
    };
    auto keys = moved(keys_, heads_, dim_), values = moved(values_, heads_, dim_v_);
    gate_sums_ = moved(gate_sums_, query_heads_, 1);
    keys_ = std::move(keys), values_ = std::move(values);
    capacity_ = room;
}

ATTENTA_INLINE void PathCache::load(const Heads<const float>& keys, const Heads<const float>& values,
                                    const Heads<const float>& gates) {
    const char* const f = "PathCache::load";
    if (tokens_ > 0) fail(f, "the cache has " + std::to_string(tokens_) + " tokens, needs to be empty");
    check_memory(f, "keys", keys);
    check_memory(f, "values", values);
    if (values.heads != keys.heads || values.tokens != keys.tokens || keys.heads < 1 || keys.dim < 1 || values.dim < 1)
        fail(f, "values are " + checks::shape(values.heads, values.tokens, values.dim) + ", needs those of keys, " +
                    checks::shape(keys.heads, keys.tokens, keys.dim));
    if (gates.data && (gates.tokens != keys.tokens || gates.heads % keys.heads != 0))
        fail(f, "gates are " + checks::shape(gates.heads, gates.tokens, gates.dim) +
                    ", needs a number for each of the " + checks::text(keys.tokens) + " tokens and query heads");
    grow(keys.heads, gates.data ? gates.heads : 0, keys.dim, values.dim, keys.tokens);
    for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t t = 0; t < keys.tokens; ++t) {
            std::copy_n(keys.row(h, t), dim_, key(h, t));
            std::copy_n(values.row(h, t), dim_v_, value(h, t));
        }
    for (std::int64_t h = 0; h < query_heads_; ++h) {
        double sum = 0;
        for (std::int64_t t = 0; t < keys.tokens; ++t) gate_sum(h, t) = sum += double{*gates.row(h, t)};
    }
    tokens_ = keys.tokens;
}

namespace detail {

/// Scratch of a call, sized for a block.
struct PathMemory {
    std::vector<float> b, m, qw, qwm, moved_q, kb, bk, mbk, local, kbm, o, bias, zeros;
    std::vector<RowStatistics> statistics;
};

/// A checked call, a block after the other.
class PathCall {
public:
    PathCall(const PathInputs& x, const PathOutputs& out, PathCache& cache, const PathOptions& options,
             Context& context)
        : x_(x),
          out_(out),
          cache_(cache),
          options_(options),
          context_(context),
          heads_(x.q.heads),
          kv_heads_(x.k.heads),
          dim_(x.q.dim),
          dim_v_(x.v.dim) {
        check();
        scale_ = scale_or_default(options.scale, dim_);
    }

    void run() {
        const CallMemory<PathMemory> memory(x_.q.tokens, context_);
        m_ = &*memory;
        cache_.grow(kv_heads_, x_.g.data ? heads_ : 0, dim_, dim_v_, x_.q.tokens);
        for (first_ = 0; first_ < x_.q.tokens; first_ += n_) {
            n_ = std::min(block, x_.q.tokens - first_);
            prepare();
            attend();
            move_keys();
        }
    }

private:
    static constexpr std::int64_t block = 64;

    void check() const {
        const char* const f = "path_attention";
        const InputList inputs(x_);
        check_given(f, inputs);
        check_shapes(f, inputs, {});
        using checks::text;
        for (const auto& [name, n] : {std::pair{"q has no heads", heads_},
                                      {"q has no tokens", x_.q.tokens},
                                      {"q has no features", dim_},
                                      {"v has no features", dim_v_}})
            if (n < 1) fail(f, std::string(name) + ", needs at least one");
        if (kv_heads_ < 1 || heads_ % kv_heads_ != 0)
            fail(f, "q has " + text(heads_) + " heads, needs a multiple of the " + text(kv_heads_) + " of k");
        if (options_.scale && !is_finite(*options_.scale))
            fail(f, "scale is " + std::to_string(*options_.scale) + ", needs a finite number");
        const bool gated = x_.g.data != nullptr;
        if (cache_.tokens_ > 0) {
            if (cache_.heads_ != kv_heads_ || cache_.dim_ != dim_ || cache_.dim_v_ != dim_v_)
                fail(f, "cache is of " + checks::shape(cache_.heads_, cache_.dim_, cache_.dim_v_) +
                            " heads and features, needs " + checks::shape(kv_heads_, dim_, dim_v_));
            if (cache_.query_heads_ != (gated ? heads_ : 0))
                fail(f, "cache has gates of " + text(cache_.query_heads_) + " heads, the call of " +
                            text(gated ? heads_ : 0) + ", needs the same");
        }
        constexpr std::int64_t most = std::int64_t{1} << 30;
        if (x_.q.tokens > most - cache_.tokens_ ||
            checks::elements(heads_, x_.q.tokens, std::max(dim_, dim_v_)) > checks::most_elements)
            fail(f, "q is " + checks::shape(heads_, x_.q.tokens, dim_) + " behind " + text(cache_.tokens_) +
                        " tokens, more than memory holds");
        const auto memory = memory_of(inputs);
        checks::check_results(f, heads_, x_.q.tokens, dim_v_, out_.o, out_.lse, memory);
    }

    static float* sized(std::vector<float>& v, std::int64_t n) {
        v.resize(static_cast<std::size_t>(n));
        return v.data();
    }
    /// Rows [heads, n, columns] of a block.
    Matrices<float> rows(std::vector<float>& v, std::int64_t heads, std::int64_t columns) const {
        return {sized(v, heads * n_ * columns), heads, n_, columns};
    }
    static Matrices<const float> read(const Matrices<float>& x) {
        return {x.data, x.heads, x.rows, x.cols, x.row_stride, x.head_stride};
    }
    Matrices<const float> tokens_of(const Heads<const float>& x) const {
        return dense::matrices_of(x.slice(first_, n_));
    }
    /// Keeps what is on the diagonal and below it, or strictly below.
    static void lower(const Matrices<float>& x, bool strict) {
        for (std::int64_t h = 0; h < x.heads; ++h)
            for (std::int64_t r = 0; r < x.rows; ++r) {
                float* const row = x.data + h * x.head_stride + r * x.row_stride;
                std::fill(row + std::min(r + (strict ? 0 : 1), x.cols), row + x.cols, 0.f);
            }
    }
    void multiply(const Matrices<const float>& a, const Matrices<const float>& b, const Matrices<float>& c,
                  const dense::ProductOptions& o) const {
        dense::multiply(a, b, c, o, context_);
    }

    /// B, M, strict_lower(B Kᵀ), M times it, and lower(Q Wᵀ).
    void prepare() {
        PathMemory& m = *m_;
        const Matrices<const float> w = tokens_of(x_.w), k = tokens_of(x_.k), q = tokens_of(x_.q);
        b_ = rows(m.b, kv_heads_, dim_);
        for (std::int64_t h = 0; h < kv_heads_; ++h)
            for (std::int64_t t = 0; t < n_; ++t) {
                const float beta = *x_.beta.row(h, first_ + t), *from = x_.w.row(h, first_ + t);
                std::transform(from, from + dim_, b_.data + (h * n_ + t) * dim_, [beta](float e) { return beta * e; });
            }
        inverse_ = rows(m.m, kv_heads_, n_);
        multiply(read(b_), w, inverse_, {.b_transposed = true});
        invert();
        const Matrices<float> bk = rows(m.bk, kv_heads_, n_);
        multiply(read(b_), k, bk, {.b_transposed = true});
        lower(bk, true);
        mbk_ = rows(m.mbk, kv_heads_, n_);
        multiply(read(inverse_), read(bk), mbk_, {});
        qw_ = rows(m.qw, heads_, n_);
        multiply(q, w, qw_, {.b_transposed = true});
        lower(qw_, false);
    }
    /// (I + strict_lower(A))⁻¹ in place of A, row by row: row t is e_t − Σ_{s<t} A_ts row s.
    void invert() const {
        std::vector<float>& row = m_->kbm;
        for (std::int64_t h = 0; h < kv_heads_; ++h) {
            float* const a = inverse_.data + h * n_ * n_;
            for (std::int64_t t = 0; t < n_; ++t) {
                row.assign(static_cast<std::size_t>(n_), 0.f);
                row[static_cast<std::size_t>(t)] = 1;
                for (std::int64_t s = 0; s < t; ++s) {
                    const float factor = a[t * n_ + s];
                    for (std::int64_t c = 0; c <= s; ++c) row.data()[c] -= factor * a[s * n_ + c];
                }
                std::copy_n(row.data(), n_, a + t * n_);
            }
        }
    }

    /// The block's own scores as a bias, the keys before as plain attention of moved queries; both parts as one.
    void attend() {
        PathMemory& m = *m_;
        const std::int64_t past = cache_.tokens_, count = heads_ * n_, size = count * dim_v_;
        const bool both = past > 0;
        add_gates();
        m.statistics.assign(static_cast<std::size_t>(2 * count), {});
        sized(m.o, 2 * size);
        const auto o = [&](std::int64_t p) { return hnd(m.o.data() + p * size, heads_, n_, dim_v_); };
        attend_inside(o(0), m.statistics.data());
        if (both) attend_before(o(1), m.statistics.data() + count);
        const MergeFunction merge = merge_row();
        run_tasks(context_.executor(), heads_, [&](std::int64_t h, int) {
            for (std::int64_t t = 0; t < n_; ++t) {
                const std::int64_t row = h * n_ + t;
                const RowStatistics* const first = m.statistics.data() + row;
                const RowStatistics all = merge(m.o.data() + row * dim_v_, size, &first->max, &first->sum, 2 * count,
                                                both ? 2 : 1, dim_v_, out_.o.row(h, first_ + t));
                if (out_.lse) out_.lse[h * x_.q.tokens + first_ + t] = all.lse() + own_gate(h, t);
            }
        });
    }
    float gate_factor() const { return options_.gate_scaled ? scale_ : 1.f; }
    /// What the query's own sum of gates adds to all of its scores.
    float own_gate(std::int64_t h, std::int64_t t) const {
        if (!x_.g.data) return 0;
        return static_cast<float>(double{gate_factor()} * (cache_.gate_sum(h, cache_.tokens_ + t) - origin(h)));
    }
    /// Sums of gates are taken relative to the block's first, so that long texts lose no digits.
    double origin(std::int64_t h) const { return cache_.gate_sum(h, cache_.tokens_); }
    void add_gates() {
        for (std::int64_t h = 0; x_.g.data && h < heads_; ++h) {
            double sum = cache_.tokens_ > 0 ? cache_.gate_sum(h, cache_.tokens_ - 1) : 0;
            for (std::int64_t t = 0; t < n_; ++t)
                cache_.gate_sum(h, cache_.tokens_ + t) = sum += double{*x_.g.row(h, first_ + t)};
        }
    }
    attention::Request request(const Heads<const float>& q, const KvView& kv, const Matrices<const float>& bias) const {
        attention::Request r;
        r.function = "path_attention";
        r.q = q;
        r.kv = kv;
        r.scale = scale_;
        if (bias.data) {
            edits::Bias edit_of;
            edit_of.bias = bias;
            r.edits.push_back(edit(edit_of));
        }
        return r;
    }

    void attend_inside(const Heads<float>& o, RowStatistics* statistics) {
        PathMemory& m = *m_;
        const Matrices<float> local = rows(m.local, heads_, n_);
        multiply(tokens_of(x_.q), tokens_of(x_.k), local, {.b_transposed = true, .alpha = scale_});
        multiply(read(qw_), read(mbk_), local, {.alpha = -scale_, .add = true});
        for (std::int64_t h = 0; x_.g.data && h < heads_; ++h)
            for (std::int64_t t = 0; t < n_; ++t)
                for (std::int64_t j = 0; j <= t; ++j) local.data[(h * n_ + t) * n_ + j] -= own_gate(h, j);
        m.zeros.assign(static_cast<std::size_t>(std::max(heads_, kv_heads_) * n_), 0.f);
        const Heads<const float> zero = hnd(static_cast<const float*>(m.zeros.data()), heads_, n_, 1);
        Heads<const float> zero_keys = zero;
        zero_keys.heads = kv_heads_;
        attention::Request r = request(zero, KvView::of(zero_keys, x_.v.slice(first_, n_)), read(local));
        r.masks.push_back(Causal{});
        attention::plan(r, context_).run(r.q, r.kv, o, nullptr, {.found = statistics});
    }

    void attend_before(const Heads<float>& o, RowStatistics* statistics) {
        PathMemory& m = *m_;
        const Matrices<float> qwm = rows(m.qwm, heads_, n_), moved = rows(m.moved_q, heads_, dim_);
        multiply(read(qw_), read(inverse_), qwm, {});
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t t = 0; t < n_; ++t)
                std::copy_n(x_.q.row(h, first_ + t), dim_, moved.data + (h * n_ + t) * dim_);
        multiply(read(qwm), read(b_), moved, {.alpha = -1, .add = true});
        Matrices<const float> bias;
        if (x_.g.data) {
            const std::int64_t past = cache_.tokens_;
            bias = {sized(m.bias, heads_ * past), heads_, 1, past};
            for (std::int64_t h = 0; h < heads_; ++h)
                for (std::int64_t j = 0; j < past; ++j)
                    m.bias.data()[h * past + j] =
                        static_cast<float>(double{gate_factor()} * (origin(h) - cache_.gate_sum(h, j)));
        }
        const attention::Request r = request(hnd(static_cast<const float*>(moved.data), heads_, n_, dim_),
                                             KvView::of(cache_.keys(), cache_.values()), bias);
        attention::plan(r, context_).run(r.q, r.kv, o, nullptr, {.found = statistics});
    }

    /// Keys before move across the block, K − ((K Bᵀ) Mᵀ) W; the block's own to its right edge, K − (M strict_lower(B Kᵀ))ᵀ W.
    void move_keys() {
        PathMemory& m = *m_;
        const Matrices<const float> w = tokens_of(x_.w);
        const std::int64_t past = cache_.tokens_;
        const auto keys_from = [&](std::int64_t t, std::int64_t count) {
            return Matrices<float>{cache_.key(0, t), kv_heads_, count, dim_, dim_, cache_.capacity_ * dim_};
        };
        if (past > 0) {
            const Matrices<float> kb{sized(m.kb, kv_heads_ * past * n_), kv_heads_, past, n_},
                kbm{sized(m.kbm, kv_heads_ * past * n_), kv_heads_, past, n_};
            multiply(read(keys_from(0, past)), read(b_), kb, {.b_transposed = true});
            multiply(read(kb), read(inverse_), kbm, {.b_transposed = true});
            multiply(read(kbm), w, keys_from(0, past), {.alpha = -1, .add = true});
        }
        for (std::int64_t h = 0; h < kv_heads_; ++h)
            for (std::int64_t t = 0; t < n_; ++t) {
                std::copy_n(x_.k.row(h, first_ + t), dim_, cache_.key(h, past + t));
                std::copy_n(x_.v.row(h, first_ + t), dim_v_, cache_.value(h, past + t));
            }
        multiply(read(mbk_), w, keys_from(past, n_), {.a_transposed = true, .alpha = -1, .add = true});
        cache_.tokens_ += n_;
    }

    const PathInputs& x_;
    const PathOutputs& out_;
    PathCache& cache_;
    const PathOptions& options_;
    Context& context_;
    const std::int64_t heads_, kv_heads_, dim_, dim_v_;
    float scale_ = 1;
    PathMemory* m_ = nullptr;
    std::int64_t first_ = 0, n_ = 0;
    Matrices<float> b_, inverse_, mbk_, qw_;
};

}  // namespace detail

ATTENTA_INLINE void path_attention(const PathInputs& x, const PathOutputs& out, PathCache& cache,
                                   const PathOptions& options, Context& context) {
    detail::PathCall(x, out, cache, options, context).run();
}

ATTENTA_END
