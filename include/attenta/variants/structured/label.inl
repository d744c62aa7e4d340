#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/scale.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/variants/structured/kernels.hpp>
#include <attenta/variants/structured/label.hpp>

#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct LabelMemory {
    std::vector<float> queries, contexts, hidden, of_labels, of_words;
};

inline void check_label(const LabelInputs& x, const LabelOutputs& out, const LabelOptions& options) {
    CheckedCall check("label", InputList(x));
    check.finite("scale", options.scale);
    check.finite("eps", options.eps);
    if (options.eps < 0) check.refuse("eps is " + std::to_string(options.eps) + ", needs a number from 0 up");
    if (options.ddof != 0 && options.ddof != 1)
        check.refuse("ddof is " + checks::text(options.ddof) + ", needs 0 or 1");
    const int given = bool(x.w_o) + bool(x.w_p) + !x.norm.empty() + !x.norm_b.empty();
    if (given != 0 && given != 4)
        check.refuse(std::to_string(given) + " of w_o, w_p, norm and norm_b are given, needs all or none");
    if (x.w_p && x.w_p.cols <= options.ddof)
        check.refuse("w_p has " + checks::text(x.w_p.cols) + " columns, a deviation needs more than ddof, " +
                     checks::text(options.ddof));
    if (out.y && !x.w_o) check.refuse("y is given, w_o is null");
    check.scratch("q w_k", 1, x.q.rows, x.x.cols);
    check.output("o", out.o, x.q.rows, 1, x.w_v.dim);
    check.output("lse", out.lse, 1, x.q.rows, 1);
    if (!out.y) return;
    check.scratch("y", x.x.rows, x.q.rows, x.w_p.cols);
    check.output("y", Heads<float>{out.y.data, 1, out.y.rows, out.y.cols, 0, out.y.row_stride}, 1, x.x.rows,
                 x.q.rows * x.w_p.cols);
}

/// Words and contexts through w_p once each, then a sum for every pair.
inline void add_labels_to_words(const LabelInputs& x, const LabelOutputs& out, const LabelOptions& options,
                                LabelMemory& m, Context& context) {
    const std::int64_t labels = x.q.rows, words = x.x.rows, width = x.w_p.cols;
    m.hidden.resize(static_cast<std::size_t>(labels * x.x.cols));
    m.of_labels.resize(static_cast<std::size_t>(labels * width));
    m.of_words.resize(static_cast<std::size_t>(words * width));
    const Matrices<float> hidden{m.hidden.data(), 1, labels, x.x.cols};
    dense::multiply({out.o.data, 1, labels, out.o.dim, out.o.head_stride}, x.w_o, hidden, {}, context);
    dense::multiply({m.hidden.data(), 1, labels, x.x.cols}, x.w_p, {m.of_labels.data(), 1, labels, width}, {}, context);
    dense::multiply(x.x, x.w_p, {m.of_words.data(), 1, words, width}, {}, context);
    run_tasks(context.executor(), words, [&](std::int64_t t, int) {
        for (std::int64_t l = 0; l < labels; ++l)
            structured::normalise_sum()({m.of_words.data() + t * width, m.of_labels.data() + l * width, x.norm.data(),
                                         x.norm_b.data(), width, options.ddof, options.eps},
                                        out.y.row(0, t) + l * width);
    });
}

}  // namespace detail

ATTENTA_INLINE void label(const LabelInputs& x, const LabelOutputs& out, const LabelOptions& options,
                          Context& context) {
    detail::check_label(x, out, options);
    const std::int64_t labels = x.q.rows, dim = x.x.cols;
    const detail::CallMemory<detail::LabelMemory> memory(x.x.rows, context);
    memory->queries.resize(static_cast<std::size_t>(labels * dim));
    memory->contexts.resize(memory->queries.size());
    dense::multiply({x.q.data, labels, 1, x.q.cols, x.q.cols, x.q.row_stride}, dense::matrices_of(x.w_k),
                    {memory->queries.data(), labels, 1, dim}, {.b_transposed = true}, context);

    const Heads<const float> words{x.x.data, 1, x.x.rows, dim, 0, x.x.row_stride};
    attention::Request r;
    r.function = "label";
    r.q = hnd(static_cast<const float*>(memory->queries.data()), labels, 1, dim);
    r.kv = KvView::of(words, words);
    r.scale = detail::scale_or_default(options.scale, dim);
    attention::plan(r, context).run(r.q, r.kv, hnd(memory->contexts.data(), labels, 1, dim), out.lse);
    dense::multiply({memory->contexts.data(), labels, 1, dim}, dense::matrices_of(x.w_v), dense::matrices_of(out.o), {},
                    context);
    if (out.y) detail::add_labels_to_words(x, out, options, *memory, context);
}

ATTENTA_END
