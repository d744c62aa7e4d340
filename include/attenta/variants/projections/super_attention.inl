#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/variants/projections/super_attention.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_mixing(const char* f, const SuperAttentionInputs& x) {
    const Matrices<const float>& w = x.w_a;
    if (!w) fail(f, "w_a is null, needs a matrix for the tokens of x_v");
    if ((w.heads != 1 && w.heads != x.q.heads) || w.rows != w.cols || w.rows < x.x_v.rows)
        fail(f, "w_a is " + checks::shape(w.heads, w.rows, w.cols) + ", needs [1 or " + checks::text(x.q.heads) +
                    ", S, S] with S at least the " + checks::text(x.x_v.rows) + " tokens of x_v");
    check_memory(f, "w_a", {w.data, w.heads, w.rows, w.cols, w.head_stride, w.row_stride});
    checks::check_pointer(f, "w_a", w.data, sizeof(float), true);
    if (!x.b_a.empty() && static_cast<std::int64_t>(x.b_a.size()) != w.rows)
        fail(f, "b_a has " + checks::text(static_cast<std::int64_t>(x.b_a.size())) + " elements, needs the " +
                    checks::text(w.rows) + " rows of w_a");
}

struct SuperAttentionMemory {
    std::vector<float> v, triangle;
};

/// v' of all heads, [Tk, Hq·Dv].
class MixedValues {
public:
    MixedValues(const SuperAttentionInputs& x, SuperAttentionMemory& memory, Context& context)
        : x_(x), triangle_(memory.triangle), context_(context), tokens_(x.x_v.rows), columns_(x.x_v.cols) {
        memory.v.resize(static_cast<std::size_t>(tokens_ * columns_));
        v_ = memory.v.data();
        for (std::int64_t t = 0; t < tokens_; ++t)
            std::fill_n(v_ + t * columns_, columns_, x.b_a.empty() ? 0.f : x.b_a[static_cast<std::size_t>(t)]);
    }

    void mix() { add(x_.w_a.data, x_.w_a.row_stride, x_.w_a.head_stride, 0, tokens_, 0, tokens_); }

    /// By blocks of rows: what lies before the block's own columns is a whole matrix, the rest a triangle.
    void mix_triangle() {
        constexpr std::int64_t block = 64;
        const Matrices<const float>& w = x_.w_a;
        triangle_.resize(static_cast<std::size_t>(w.heads * block * block));
        for (std::int64_t begin = 0; begin < tokens_; begin += block) {
            const std::int64_t n = std::min(block, tokens_ - begin);
            if (begin > 0) add(w.row(0, begin), w.row_stride, w.head_stride, begin, n, 0, begin);
            for (std::int64_t h = 0; h < w.heads; ++h)
                for (std::int64_t t = 0; t < n; ++t) {
                    float* const to = triangle_.data() + (h * block + t) * block;
                    std::copy_n(w.row(h, begin + t) + begin, t + 1, to);
                    std::fill(to + t + 1, to + block, 0.f);
                }
            add(triangle_.data(), block, block * block, begin, n, begin, n);
        }
    }

private:
    /// Rows [to, to + rows) of v' += w · rows [from, from + count) of x_v.
    void add(const float* w, std::int64_t row_stride, std::int64_t head_stride, std::int64_t to, std::int64_t rows,
             std::int64_t from, std::int64_t count) {
        const std::int64_t heads = x_.w_a.heads, width = columns_ / heads;
        dense::multiply({w, heads, rows, count, row_stride, head_stride},
                        {x_.x_v.data + from * x_.x_v.row_stride, heads, count, width, x_.x_v.row_stride, width},
                        Matrices<float>{v_ + to * columns_, heads, rows, width, columns_, width}, {.add = true},
                        context_);
    }

    const SuperAttentionInputs& x_;
    std::vector<float>& triangle_;
    Context& context_;
    std::int64_t tokens_, columns_;
    float* v_;
};

}  // namespace detail

ATTENTA_INLINE void super_attention(const SuperAttentionInputs& x, const SoftmaxOutputs& out,
                                    const SuperAttentionOptions& options, Context& context) {
    const char* const f = "super_attention";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const Heads<const float> k = detail::head_slices(f, "x_k", x.x_k, x.q.heads, x.q.dim),
                             raw = detail::head_slices(f, "x_v", x.x_v, x.q.heads);
    detail::check_mixing(f, x);
    const NamedBytes mixing{"w_a", bytes_of(x.w_a, sizeof(float))};
    checks::check_results(f, x.q.heads, x.q.tokens, raw.dim, out.o, out.lse, {&mixing, 1});
    detail::SoftmaxCall call =
        detail::check_sliced(f, inputs, x.q, KvView::of(k, raw), out, options.scale, options.visibility, context);

    detail::CallMemory<detail::SuperAttentionMemory> own(x.q.tokens, context);
    detail::MixedValues values(x, *own, context);
    if (options.visibility.causal)
        values.mix_triangle();
    else
        values.mix();
    const Heads<const float> v{own->v.data(), raw.heads, raw.tokens, raw.dim, raw.dim, x.x_v.cols};
    call.request.kv = KvView::of(k, v);
    call.run();
}

ATTENTA_END
