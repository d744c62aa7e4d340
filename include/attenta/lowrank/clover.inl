#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/lowrank/clover.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE CloverInputs CloverWeights::on(const Matrices<const float>& x) const {
    const auto weight = [this](const std::vector<float>& w, std::int64_t rows, std::int64_t cols) {
        return w.empty() ? Heads<const float>{} : hnd(w.data(), heads, rows, cols);
    };
    CloverInputs in;
    in.x = x;
    in.wq = weight(wq, rank_qk, inputs), in.wk = weight(wk, rank_qk, inputs), in.wv = weight(wv, rank_vo, inputs);
    in.wo = weight(wo, outputs, rank_vo);
    in.bq = weight(bq, 1, rank_qk), in.bk = weight(bk, 1, rank_qk), in.bv = weight(bv, 1, rank_vo);
    in.bo = bo;
    return in;
}

namespace detail {

/// The sizes that the list of inputs cannot tell.
inline LetterSizes clover_letters(const CloverInputs& in) {
    LetterSizes letters;
    letters.set("D", in.wq.tokens);
    letters.set("Dv", in.wv.tokens);
    letters.set("O", in.wo.tokens);
    return letters;
}

inline void check_clover(const CloverInputs& in, const Matrices<float>& o, const CloverOptions& options) {
    LowRankCheck check("clover", InputList(in), clover_letters(in));
    if (!options.scale) check.refuse("scale is missing, needs 1/sqrt(D) of the original heads");
    check.finite("scale", options.scale);
    check.numbers(options.check_data);
    for (const std::int64_t n : {in.wq.tokens, in.wv.tokens})
        check.scratch("the projected tokens", in.wq.heads, in.x.rows, n);
    if (o.heads != 1) check.refuse("o has " + checks::text(o.heads) + " matrices, needs 1");
    check.output("o", Heads<float>{o.data, 1, o.rows, o.cols, 0, o.row_stride}, 1, in.x.rows, in.wo.tokens);
}

/// x Wᵀ + b of each head, [H, T, r].
inline Heads<const float> project_tokens(const Matrices<const float>& x, Heads<const float> weight,
                                         Heads<const float> bias, CallArrays& arrays, Context& context) {
    const Heads<float> to = arrays.heads(weight.heads, x.rows, weight.tokens);
    if (bias.data)
        for_rows(context, to.heads, to.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t t = begin; t < end; ++t) std::copy_n(bias.row(h, 0), to.dim, to.row(h, t));
        });
    dense::multiply(x, dense::matrices_of(weight), dense::matrices_of(to),
                    {.b_transposed = true, .add = bias.data != nullptr}, context);
    return to;
}

}  // namespace detail

ATTENTA_INLINE void clover(const CloverInputs& x, Matrices<float> o, const CloverOptions& options, Context& context) {
    detail::check_clover(x, o, options);
    detail::CallArrays arrays(context);
    const Matrices<const float> tokens{x.x.data, 1, x.x.rows, x.x.cols, x.x.row_stride};
    const Heads<const float> q = detail::project_tokens(tokens, x.wq, x.bq, arrays, context),
                             k = detail::project_tokens(tokens, x.wk, x.bk, arrays, context),
                             v = detail::project_tokens(tokens, x.wv, x.bv, arrays, context);
    const Heads<float> of_heads = arrays.heads(v.heads, v.tokens, v.dim);
    SoftmaxOptions softmax;
    softmax.scale = options.scale;
    softmax.causal = options.causal;
    softmax_attention(q, k, v, of_heads, softmax, nullptr, context);
    for (std::int64_t t = 0; t < o.rows && !x.bo.empty(); ++t) std::copy(x.bo.begin(), x.bo.end(), o.row(0, t));
    for (std::int64_t h = 0; h < of_heads.heads; ++h) {
        const auto head = [h](const Heads<const float>& in) {
            return Matrices<const float>{in.row(h, 0), 1, in.tokens, in.dim, in.token_stride};
        };
        dense::multiply(head(of_heads), head(x.wo), o, {.b_transposed = true, .add = h > 0 || !x.bo.empty()}, context);
    }
}

ATTENTA_END
