#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/scores/mega.hpp>
#include <attenta/variants/scores/mega_kernels.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline Heads<float> mega_head(const Matrices<float>& x) { return {x.data, 1, x.rows, x.cols, 0, x.row_stride}; }

inline void check_mega(const char* f, const MegaInputs& x, const MegaBias& bias, const MegaOutputs& out,
                       const MegaOptions& o) {
    const InputList inputs(x), biases(bias);
    if (static_cast<int>(o.activation) > static_cast<int>(MegaActivation::relu2))
        fail(f, "activation is none of MegaActivation");
    check_given(f, inputs);
    check_given(f, biases);
    const std::int64_t tokens = x.x.rows, d = x.x.cols, s = x.gamma_qk.cols, e = x.w_v.cols;
    for (const auto& [name, n] : {std::pair{"x has no tokens", tokens},
                                  {"x has no features", d},
                                  {"gamma_qk has no features", s},
                                  {"w_v has no columns", e}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    LetterSizes letters;
    letters.set("2", 2);
    letters.set("M", o.bidirectional ? saturating::multiply(2, d) : d);
    letters.set("P", saturating::add(saturating::multiply(2, d), saturating::add(s, e)));
    check_shapes(f, inputs, letters);
    LetterSizes features;
    features.set("S", s);
    check_shapes(f, biases, features);
    check_mega_positions(f, bias, s, tokens, o.chunk);

    OutputMemory memory(f, inputs);
    for (const NamedBytes& b : memory_of(biases)) memory.take(b);
    checks::check_pointer(f, "o", out.o.data, sizeof(float), true);
    const auto add = [&](const char* name, const Matrices<float>& y, std::int64_t columns) {
        if (!y.data) return;
        checks::check_output(f, 1, tokens, columns, mega_head(y), name);
        memory.add(name, mega_head(y));
    };
    add("o", out.o, d);
    add("q", out.q, s);
    add("k", out.k, s);
    add("v", out.v, e);
    add("attended", out.attended, e);
}

/// What a layer computes on its way, rows of tokens.
struct MegaLayer {
    std::vector<float> average, base, q, k, v, attended, gated, mixed;

    Matrices<float> matrix(std::vector<float>& memory, std::int64_t rows, std::int64_t columns) const {
        memory.resize(static_cast<std::size_t>(rows * columns));
        return {memory.data(), 1, rows, columns};
    }
};

/// make(token) for all tokens, side by side.
template <class F>
void for_mega_tokens(std::int64_t tokens, Context& context, F&& make) {
    constexpr std::int64_t together = 16;  // tokens of a task
    run_tasks(context.executor(), ceil_div(tokens, together), [&](std::int64_t task, int) {
        for (std::int64_t t = task * together; t < std::min(tokens, (task + 1) * together); ++t) make(t);
    });
}

inline void copy_mega_rows(const Matrices<float>& from, const Matrices<float>& to) {
    for (std::int64_t t = 0; to.data && t < from.rows; ++t) std::copy_n(from.row(0, t), from.cols, to.row(0, t));
}

/// [u; z; r; h] of the average, and q and k of z.
inline void make_gates(const MegaInputs& x, const Matrices<float>& base, const Matrices<float>& q,
                       const Matrices<float>& k, Context& context) {
    const MegaRows& rows = mega_rows();
    const std::int64_t d = x.x.cols, s = q.cols, e = x.w_v.cols;
    for_mega_tokens(base.rows, context, [&](std::int64_t t) {
        float *const u = base.row(0, t), *const z = u + d, *const h = z + s + e;
        rows.add_sigmoid(u, x.b_mx.data(), d);
        rows.add_silu(z, x.b_mx.data() + d, s + e);
        rows.add(h, x.b_mx.data() + d + s + e, d);
        rows.scale_and_shift(z, x.gamma_qk.row(0, 0), x.beta_qk.row(0, 0), s, q.row(0, t));
        rows.scale_and_shift(z, x.gamma_qk.row(0, 1), x.beta_qk.row(0, 1), s, k.row(0, t));
    });
}

}  // namespace detail

ATTENTA_INLINE void mega(const MegaInputs& x, const MegaBias& bias, const MegaOutputs& out, const MegaOptions& options,
                         Context& context) {
    const char* const f = "mega";
    detail::check_mega(f, x, bias, out, options);
    const std::int64_t tokens = x.x.rows, d = x.x.cols, s = x.gamma_qk.cols, e = x.w_v.cols;
    detail::CallMemory<detail::MegaLayer> own(tokens, context);
    const auto average = own->matrix(own->average, tokens, d), base = own->matrix(own->base, tokens, x.w_mx.cols),
               q = own->matrix(own->q, tokens, s), k = own->matrix(own->k, tokens, s),
               v = own->matrix(own->v, tokens, e), attended = own->matrix(own->attended, tokens, e),
               gated = own->matrix(own->gated, tokens, e), mixed = own->matrix(own->mixed, tokens, d);
    const auto read = [](const Matrices<float>& y) { return Matrices<const float>{y.data, 1, y.rows, y.cols}; };

    LinearState state;
    damped_ema({x.x, x.delta, x.alpha, x.beta, x.gamma, x.omega}, average, state,
               {.bidirectional = options.bidirectional}, context);
    dense::multiply(read(average), x.w_mx, base, {}, context);
    detail::make_gates(x, base, q, k, context);
    dense::multiply(x.x, x.w_v, v, {}, context);
    const detail::MegaRows& rows = detail::mega_rows();
    detail::for_mega_tokens(tokens, context, [&](std::int64_t t) { rows.add_silu(v.row(0, t), x.b_v.data(), e); });

    MegaAttentionOptions attention{.activation = options.activation, .chunk = options.chunk};
    attention.visibility.causal = options.causal;
    const Heads<const float> keys = detail::mega_head(k), values = detail::mega_head(v);
    mega_attention({detail::mega_head(q), KvView::of(keys, values), bias}, {detail::mega_head(attended)}, attention,
                   context);
    detail::copy_mega_rows(attended, gated);
    detail::for_mega_tokens(tokens, context,
                            [&](std::int64_t t) { rows.multiply(gated.row(0, t), base.row(0, t) + d + s, e); });
    dense::multiply(read(gated), x.w_h, mixed, {}, context);
    detail::for_mega_tokens(tokens, context, [&](std::int64_t t) {
        const float *const u = base.row(0, t), *const h = u + d + s + e;
        rows.close(h, mixed.row(0, t), x.b_h.data(), u, x.residual.row(0, t), d, out.o.row(0, t));
    });
    detail::copy_mega_rows(q, out.q);
    detail::copy_mega_rows(k, out.k);
    detail::copy_mega_rows(v, out.v);
    detail::copy_mega_rows(attended, out.attended);
}

ATTENTA_END
