#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/softmax/row_norms.hpp>
#include <attenta/softmax/scores/multi_token.hpp>
#include <attenta/softmax/scores/multi_token_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Scores or weights of a range of queries, [heads, rows, stride]: `before` zeros, the keys, zeros.
struct ScoreRows {
    std::vector<float> numbers;
    std::int64_t heads = 0, rows = 0, stride = 0, before = 0;

    void reset(std::int64_t of_heads, std::int64_t of_rows, std::int64_t keys, std::int64_t in_front,
               std::int64_t behind) {
        heads = of_heads, rows = of_rows, before = in_front;
        stride = round_up(in_front + keys + behind + widest_vectors, widest_vectors);
        numbers.assign(static_cast<std::size_t>(heads * rows * stride), 0.f);
    }
    float* row(std::int64_t h, std::int64_t r) { return numbers.data() + (h * rows + r) * stride + before; }

private:
    static constexpr std::int64_t widest_vectors = 64;  // four of 16 lanes, which are read together
};

struct MultiTokenMemory {
    std::vector<float> keys, values, gates, norm;
    ScoreRows now, next;
};

inline void check_multi_token(const MultiTokenInputs& x, const MultiTokenOptions& o, std::int64_t keys) {
    const char* const f = "multi_token";
    using checks::text;
    if (x.q.tokens > keys) fail(f, "q has " + text(x.q.tokens) + " tokens, needs at most the " + text(keys) + " of k");
    for (const auto& [name, kernel] : {std::pair{"kernel_pre", &x.kernel_pre}, {"kernel_post", &x.kernel_post}}) {
        if (!kernel->data) continue;
        if (kernel->tokens < 1 || kernel->dim < 1)
            fail(f, std::string(name) + " is " + checks::shape(kernel->heads, kernel->tokens, kernel->dim) +
                        ", needs at least one row and column");
        if (o.pad_key == PadKey::both && kernel->dim % 2 == 0)
            fail(f, std::string(name) + " has " + text(kernel->dim) + " columns, pad_key both needs an odd number");
    }
    if (x.head_post.data && x.head_post.heads * x.head_post.tokens != x.q.heads)
        fail(f, "head_post is of " + text(x.head_post.heads) + " groups of " + text(x.head_post.tokens) +
                    " heads, needs the " + text(x.q.heads) + " heads of q");
    if ((x.gate_weight.data != nullptr) != !x.gate_bias.empty())
        fail(f, "gate_weight and gate_bias are not both given, needs both or neither");
    if (x.gate_weight.data && x.gate_weight.rows != 1 && x.gate_weight.rows != x.kv.v.dim)
        fail(f, "gate_weight has " + text(x.gate_weight.rows) + " rows, needs 1 or the " + text(x.kv.v.dim) + " of v");
    check_norm_eps(f, o.eps);
    if (o.depth && *o.depth < 0) fail(f, "depth is " + text(*o.depth) + ", needs at least 0");
}

class MultiToken {
public:
    MultiToken(const MultiTokenInputs& x, Heads<float> o, const MultiTokenOptions& options, float scale,
               MultiTokenMemory& memory, Context& context)
        : x_(x),
          o_(o),
          options_(options),
          scale_(scale),
          m_(memory),
          context_(context),
          k_(keys_as_floats(x.kv, memory.keys)),
          v_(values_as_floats(x.kv, memory.values)),
          heads_(x.q.heads),
          past_(k_.tokens - x.q.tokens) {}

    void run() {
        const std::int64_t halo = halo_of(x_.kernel_pre) + halo_of(x_.kernel_post), queries = x_.q.tokens,
                           per_row = 2 * heads_ * k_.tokens * static_cast<std::int64_t>(sizeof(float)),
                           range = std::clamp<std::int64_t>(
                               range_bytes / per_row - halo, std::max<std::int64_t>(halo, 16),
                               std::max<std::int64_t>(queries, std::max<std::int64_t>(halo, 16)));
        for (std::int64_t begin = 0; begin < queries; begin += range) {
            end_ = std::min(begin + range, queries);
            first_ = std::max<std::int64_t>(begin - halo, 0);
            attend(begin);
        }
        finish();
    }

private:
    static constexpr std::int64_t range_bytes = std::int64_t{16} << 20;

    static std::int64_t halo_of(const Heads<const float>& kernel) { return kernel.data ? kernel.tokens - 1 : 0; }
    /// Keys before its own that a kernel reads.
    std::int64_t left_of(const Heads<const float>& kernel) const {
        if (options_.pad_key == PadKey::right) return 0;
        return options_.pad_key == PadKey::left ? kernel.dim - 1 : (kernel.dim - 1) / 2;
    }
    /// Keys that a row of the range sees.
    std::int64_t seen(std::int64_t row) const { return past_ + first_ + row + 1; }
    std::int64_t rows() const { return end_ - first_; }

    template <class F>
    void for_rows(F&& f) {
        const std::int64_t n = rows();
        run_tasks(context_.executor(), heads_ * n, [&](std::int64_t i, int) { f(i / n, i % n); });
    }

    void attend(std::int64_t begin) {
        const std::int64_t keys = past_ + end_;
        std::int64_t wide = 0;
        for (const Heads<const float>* kernel : {&x_.kernel_pre, &x_.kernel_post})
            if (kernel->data) wide = std::max(wide, kernel->dim);
        for (ScoreRows* s : {&m_.now, &m_.next}) s->reset(heads_, rows(), keys, wide, wide);
        ScoreRows& s = m_.now;
        dense::multiply(dense::matrices_of(x_.q.slice(first_, rows())), dense::matrices_of(k_.slice(0, keys)),
                        {s.row(0, 0), heads_, rows(), keys, s.stride, s.rows * s.stride},
                        {.b_transposed = true, .alpha = scale_}, context_);
        const auto hide = [&](std::int64_t h, std::int64_t r) {
            std::fill(m_.now.row(h, r) + seen(r), m_.now.row(h, r) + keys, 0.f);
        };
        if (x_.kernel_pre.data) {
            for_rows(hide);
            convolve(x_.kernel_pre, keys);
        }
        if (x_.head_pre.data) mix({x_.head_pre.data, 1, heads_, heads_, x_.head_pre.row_stride, 0}, false);
        const dense::SoftmaxRowFunction softmax = dense::softmax_row();
        for_rows([&](std::int64_t h, std::int64_t r) {
            softmax(m_.now.row(h, r), seen(r), 1, nullptr);
            hide(h, r);
        });
        if (x_.kernel_post.data) {
            convolve(x_.kernel_post, keys);
            for_rows(hide);
        }
        if (x_.head_post.data) mix(dense::matrices_of(x_.head_post), true);
        const ScoreRows& p = m_.now;
        dense::multiply({m_.now.row(0, begin - first_), heads_, end_ - begin, keys, p.stride, p.rows * p.stride},
                        dense::matrices_of(v_.slice(0, keys)), dense::matrices_of(o_.slice(begin, end_ - begin)), {},
                        context_);
    }

    /// Rows before the range's first count as zeros: they are before the first query, or nobody looks at what they make.
    void convolve(const Heads<const float>& kernel, std::int64_t keys) {
        const ConvolveScores convolve_row = convolve_scores();
        const std::int64_t left = left_of(kernel);
        for_rows([&](std::int64_t h, std::int64_t r) {
            const std::int64_t missing = std::max<std::int64_t>(kernel.tokens - 1 - r, 0);
            convolve_row(m_.now.row(h, r - (kernel.tokens - 1) + missing) - left, m_.now.stride,
                         {kernel.row(h, missing), kernel.token_stride, kernel.tokens - missing, kernel.dim},
                         m_.next.row(h, r), keys);
        });
        std::swap(m_.now, m_.next);
    }

    /// Heads of a group as combinations of each other.
    void mix(const Matrices<const float>& weights, bool transposed) {
        const std::int64_t numbers = m_.now.rows * m_.now.stride, group = heads_ / weights.heads;
        dense::multiply(weights, {m_.now.numbers.data(), weights.heads, group, numbers},
                        {m_.next.numbers.data(), weights.heads, group, numbers}, {.a_transposed = transposed},
                        context_);
        std::swap(m_.now, m_.next);
    }

    void finish() {
        const std::int64_t queries = x_.q.tokens, dim = o_.dim;
        const auto for_outputs = [&](auto&& f) {
            run_tasks(context_.executor(), heads_ * queries, [&](std::int64_t i, int) { f(i / queries, i % queries); });
        };
        if (!x_.norm_weight.empty()) {
            const double factor =
                options_.depth ? 1 - (0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(*options_.depth))) : 1;
            m_.norm.assign(x_.norm_weight.begin(), x_.norm_weight.end());
            for (float& w : m_.norm) w = static_cast<float>(factor * double{w});
            const NormalizeRow normalize = normalize_row();
            for_outputs([&](std::int64_t h, std::int64_t t) {
                normalize(o_.row(h, t), dim, VectorNorm::rms, options_.eps, m_.norm.data(), nullptr, o_.row(h, t));
            });
        }
        if (!x_.gate_weight.data) return;
        const std::int64_t gates = x_.gate_weight.rows;
        m_.gates.resize(static_cast<std::size_t>(heads_ * queries * gates));
        dense::multiply(dense::matrices_of<const float>(o_),
                        {x_.gate_weight.data, 1, gates, dim, x_.gate_weight.row_stride, 0},
                        {m_.gates.data(), heads_, queries, gates}, {.b_transposed = true}, context_);
        const GateFunction gate = gate_output_row();
        for_outputs([&](std::int64_t h, std::int64_t t) {
            gate(m_.gates.data() + (h * queries + t) * gates, x_.gate_bias.data(), gates, dim, o_.row(h, t));
        });
    }

    const MultiTokenInputs& x_;
    const Heads<float> o_;
    const MultiTokenOptions& options_;
    const float scale_;
    MultiTokenMemory& m_;
    Context& context_;
    const Heads<const float> k_, v_;
    const std::int64_t heads_, past_;
    std::int64_t first_ = 0, end_ = 0;
};

}  // namespace detail

ATTENTA_INLINE void multi_token(const MultiTokenInputs& x, Heads<float> o, const MultiTokenOptions& options,
                                Context& context) {
    const SoftmaxOutputs out{o, nullptr};
    const detail::SoftmaxCall call = detail::check_softmax(
        "multi_token", x, out, detail::scale_or_default(options.scale, x.q.dim), {.causal = true}, context);
    if (x.kv.positions || x.kv.differs_by_head())
        fail("multi_token", "kv has positions, needs keys in the order of the sequence");
    detail::check_multi_token(x, options, call.keys());
    const detail::CallMemory<detail::MultiTokenMemory> memory(x.q.tokens, context);
    detail::MultiToken(x, o, options, call.request.scale, *memory, context).run();
}

ATTENTA_END
