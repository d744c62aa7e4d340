#pragma once

#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/variants/structured/resonator.hpp>
#include <attenta/variants/structured/resonator_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

inline Heads<float> rows_of(const Matrices<float>& x) { return {x.data, x.rows, 1, x.cols, x.row_stride, 0}; }

inline void check_resonator(const ResonatorInputs& x, const ResonatorOutputs& out, const ResonatorOptions& options) {
    CheckedCall check("resonator", InputList(x));
    const bool complex = x.s_im.data() != nullptr;
    if (complex != (x.codebook_im.data != nullptr))
        check.refuse(complex ? "codebook_im is null, s_im needs it" : "s_im is null, codebook_im needs it");
    const bool wants_im = complex && x.state.data;
    if (wants_im != (x.state_im.data != nullptr))
        check.refuse(wants_im ? "state_im is null, s_im needs it" : "state_im is given, needs s_im and state");
    check.at_least("steps", options.steps, 1);
    check.finite("beta", options.beta);
    check.numbers(options.check_data);
    const std::int64_t factors = x.codebook.heads, words = x.codebook.tokens, dim = x.codebook.dim;
    if (out.state.heads != 1) check.refuse("state has " + checks::text(out.state.heads) + " heads, needs 1");
    check.output("state", rows_of(out.state), factors, 1, dim);
    if (complex) check.output("state_im", rows_of(out.state_im), factors, 1, dim);
    check.output("weights", out.weights, 1, factors, words);
    check.output("index", out.index, 1, 1, factors);
}

/// The estimates, which stand in the outputs, and what an update needs.
class Resonator {
public:
    Resonator(const ResonatorInputs& x, const ResonatorOutputs& out, const ResonatorOptions& options, Context& context)
        : x_(x),
          out_(out),
          options_(options),
          context_(context),
          arrays_(context),
          complex_(x.s_im.data() != nullptr),
          factors_(x.codebook.heads),
          words_(x.codebook.tokens),
          dim_(x.codebook.dim),
          beta_(options.beta.value_or(1.f / std::sqrt(static_cast<float>(dim_)))),
          unbound_(arrays_.take(factors_ * dim_)),
          unbound_im_(complex_ ? arrays_.take(factors_ * dim_) : nullptr),
          weights_(out.weights ? out.weights : arrays_.take(factors_ * words_)) {}

    void begin() {
        if (x_.state.data) {
            copy(x_.state, out_.state);
            if (complex_) copy(x_.state_im, out_.state_im);
            return;
        }
        float* const ones = arrays_.take(words_);
        std::fill_n(ones, words_, 1.f);
        const Matrices<const float> sum{ones, 1, 1, words_};
        dense::multiply(sum, dense::matrices_of(x_.codebook), estimates(out_.state, 0, factors_), {}, context_);
        if (complex_)
            dense::multiply(sum, dense::matrices_of(x_.codebook_im), estimates(out_.state_im, 0, factors_), {},
                            context_);
        const bool projects =
            options_.projection == ResonatorProjection::sign || options_.projection == ResonatorProjection::phase;
        if (projects) project(0, factors_);
    }

    /// Factors [first, first + count) from the estimates as they stand.
    void update(std::int64_t first, std::int64_t count) {
        context_.executor().parallel_for(count, [&](std::int64_t i, int) { unbind(first + i); });
        const Matrices<float> w{weights_ + first * words_, count, 1, words_};
        const auto similarities = [&](const float* y, const Heads<const float>& book, bool add) {
            dense::multiply({y + first * dim_, count, 1, dim_}, codewords(book, first, count), w,
                            {.b_transposed = true, .add = add}, context_);
        };
        similarities(unbound_, x_.codebook, false);
        if (complex_) similarities(unbound_im_, x_.codebook_im, true);
        if (options_.update == ResonatorUpdate::attention)
            context_.executor().parallel_for(
                count, [&](std::int64_t i, int) { dense::softmax_row()(w.row(i, 0), words_, beta_, nullptr); });
        const Matrices<const float> weights{w.data, count, 1, words_};
        dense::multiply(weights, codewords(x_.codebook, first, count), estimates(out_.state, first, count), {},
                        context_);
        if (complex_)
            dense::multiply(weights, codewords(x_.codebook_im, first, count), estimates(out_.state_im, first, count),
                            {}, context_);
        project(first, count);
    }

    void finish() const {
        for (std::int64_t i = 0; out_.index && i < factors_; ++i) {
            const float* const w = weights_ + i * words_;
            out_.index[i] = std::max_element(w, w + words_) - w;
        }
    }

private:
    static void copy(const Matrices<const float>& from, const Matrices<float>& to) {
        for (std::int64_t i = 0; i < from.rows; ++i) std::copy_n(from.row(0, i), from.cols, to.row(0, i));
    }
    static Matrices<const float> codewords(const Heads<const float>& book, std::int64_t first, std::int64_t count) {
        return {book.row(first, 0), count, book.tokens, book.dim, book.token_stride, book.head_stride};
    }
    static Matrices<float> estimates(const Matrices<float>& state, std::int64_t first, std::int64_t count) {
        return {state.row(0, first), count, 1, state.cols, state.cols, state.row_stride};
    }

    void unbind(std::int64_t i) const {
        structured::Unbinding u{{x_.s.data(), x_.s_im.data()}, {out_.state.data, out_.state_im.data}};
        u.stride = out_.state.row_stride, u.stride_im = out_.state_im.row_stride;
        u.count = factors_, u.without = i, u.n = dim_;
        u.y = unbound_ + i * dim_;
        u.y_im = complex_ ? unbound_im_ + i * dim_ : nullptr;
        structured::unbind()(u);
    }

    void project(std::int64_t first, std::int64_t count) const {
        if (options_.projection == ResonatorProjection::none) return;
        const structured::Projections& all = structured::projections();
        const structured::ProjectRow f = options_.projection == ResonatorProjection::sign    ? all.sign
                                         : options_.projection == ResonatorProjection::phase ? all.phase
                                                                                             : all.l2;
        context_.executor().parallel_for(count, [&](std::int64_t i, int) {
            f(out_.state.row(0, first + i), complex_ ? out_.state_im.row(0, first + i) : nullptr, dim_);
        });
    }

    const ResonatorInputs& x_;
    const ResonatorOutputs& out_;
    const ResonatorOptions& options_;
    Context& context_;
    CallArrays arrays_;
    const bool complex_;
    const std::int64_t factors_, words_, dim_;
    const float beta_;
    float *const unbound_, *const unbound_im_, *const weights_;  ///< [F, D], [F, D], [F, M]
};

}  // namespace detail

ATTENTA_INLINE void resonator(const ResonatorInputs& x, const ResonatorOutputs& out, const ResonatorOptions& options,
                              Context& context) {
    detail::check_resonator(x, out, options);
    detail::Resonator r(x, out, options, context);
    r.begin();
    const std::int64_t factors = x.codebook.heads;
    for (std::int64_t step = 0; step < options.steps; ++step) {
        if (options.order == ResonatorOrder::parallel) {
            r.update(0, factors);
            continue;
        }
        for (std::int64_t i = 0; i < factors; ++i) r.update(i, 1);
    }
    r.finish();
}

ATTENTA_END
