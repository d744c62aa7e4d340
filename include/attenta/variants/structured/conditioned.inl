#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/variants/network/kernels.hpp>
#include <attenta/variants/structured/conditioned.hpp>
#include <attenta/variants/structured/kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct ConditionedMemory {
    std::vector<float> first, second, scores;
};

inline void check_conditioned(const ConditionedInputs& x, const ConditionedOutputs& out,
                              const ConditionedOptions& options) {
    LetterSizes known;
    known.set("1", 1);
    CheckedCall check("conditioned", InputList(x), known);
    const std::int64_t both = x.x.cols + x.features.cols;
    const auto need = [&](const char* name, bool given) {
        if (!given) check.refuse(std::string(name) + " is null, the mode needs it");
    };
    std::int64_t width = x.x.cols;
    switch (options.mode) {
        case Conditioning::gate:
            need("w_g", bool(x.w_g));
            need("b_g", !x.b_g.empty());
            break;
        case Conditioning::affine:
        case Conditioning::affine_tanh:
            need("w_scale", bool(x.w_scale));
            need("b_scale", !x.b_scale.empty());
            need("w_shift", bool(x.w_shift));
            need("b_shift", !x.b_shift.empty());
            break;
        case Conditioning::concat:
            width = x.w_c ? x.w_c.rows : both;
            if (x.w_c) need("b_c", !x.b_c.empty());
            if (x.w_c && x.w_c.cols != both)
                check.refuse("w_c has " + checks::text(x.w_c.cols) + " columns, needs the " + checks::text(both) +
                             " of x and features");
            break;
    }
    if (static_cast<std::int64_t>(x.v_a.size()) != width)
        check.refuse("v_a has " + checks::text(static_cast<std::int64_t>(x.v_a.size())) + " elements, needs " +
                     checks::text(width));
    check.scratch("hidden rows", 1, x.x.rows, std::max(width, x.x.cols));
    check.output("o", out.o, 1, 1, x.x.cols);
    check.output("weights", out.weights, 1, x.x.rows, 1);
    check.output("lse", out.lse, 1, 1, 1);
}

/// s of every word.
inline void score_words(const ConditionedInputs& x, Conditioning mode, ConditionedMemory& m, Context& context) {
    const std::int64_t words = x.x.rows, dim = x.x.cols;
    const auto product = [&](const Matrices<const float>& a, const Matrices<const float>& w, bool add,
                             std::vector<float>& to) {
        to.resize(static_cast<std::size_t>(words * w.rows));
        dense::multiply(a, w, {to.data(), 1, words, w.rows}, {.b_transposed = true, .add = add}, context);
    };
    const bool affine = mode == Conditioning::affine || mode == Conditioning::affine_tanh, hidden = bool(x.w_c);
    if (mode == Conditioning::gate) product(x.features, x.w_g, false, m.first);
    if (affine) {
        product(x.features, x.w_scale, false, m.first);
        product(x.features, x.w_shift, false, m.second);
    }
    if (mode == Conditioning::concat && hidden) {
        product(x.x, {x.w_c.data, 1, x.w_c.rows, dim, x.w_c.row_stride}, false, m.first);
        product(x.features, {x.w_c.data + dim, 1, x.w_c.rows, x.features.cols, x.w_c.row_stride}, true, m.first);
    }
    m.scores.resize(static_cast<std::size_t>(words));
    constexpr std::int64_t of_task = 64;
    run_tasks(context.executor(), (words + of_task - 1) / of_task, [&](std::int64_t task, int) {
        for (std::int64_t t = task * of_task; t < std::min(words, (task + 1) * of_task); ++t) {
            float& s = m.scores[static_cast<std::size_t>(t)];
            const float* const first = m.first.data() + t * (mode == Conditioning::concat ? x.w_c.rows : dim);
            if (mode != Conditioning::concat) {
                structured::ConditionedRow row{static_cast<structured::ConditionedRow::Kind>(mode), x.x.row(0, t),
                                               first};
                row.a_shift = affine ? x.b_scale.data() : x.b_g.data();
                row.b = affine ? m.second.data() + t * dim : nullptr;
                row.b_shift = x.b_shift.data();
                row.v = x.v_a.data();
                row.n = dim;
                s = structured::score_conditioned()(row);
            } else if (hidden) {
                network::sum_tanh_rows()({first, 0, 1, x.w_c.rows, x.v_a.data(), x.b_c.data()}, &s);
            } else {
                s = network::dot_rows()(x.x.row(0, t), x.v_a.data(), dim) +
                    network::dot_rows()(x.features.row(0, t), x.v_a.data() + dim, x.features.cols);
            }
            s += x.b_a[0];
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void conditioned(const ConditionedInputs& x, const ConditionedOutputs& out,
                                const ConditionedOptions& options, Context& context) {
    detail::check_conditioned(x, out, options);
    const std::int64_t words = x.x.rows;
    const detail::CallMemory<detail::ConditionedMemory> memory(words, context);
    detail::score_words(x, options.mode, *memory, context);

    // Scores are keys of one channel, against a query of 1.
    constexpr float one = 1;
    attention::Request r;
    r.function = "conditioned";
    r.q = {&one, 1, 1, 1, 1, 1};
    r.kv = KvView::of(hnd(static_cast<const float*>(memory->scores.data()), 1, words, 1),
                      Heads<const float>{x.x.data, 1, words, x.x.cols, 0, x.x.row_stride});
    attention::plan(r, context).run(r.q, r.kv, out.o, out.lse);
    if (!out.weights) return;
    std::copy(memory->scores.begin(), memory->scores.end(), out.weights);
    dense::softmax_row()(out.weights, words, 1.f, nullptr);
}

ATTENTA_END
