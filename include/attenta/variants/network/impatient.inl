#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/variants/network/impatient.hpp>
#include <attenta/variants/network/pair_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// One token after the other; memory is that of the call.
class ImpatientReader {
public:
    struct Memory {
        TanhPairScores scores;
        std::vector<float> queries, half, weights, state, recurrent;
    };

    ImpatientReader(const ImpatientInputs& x, Memory& m, Context& context) : x_(x), m_(m), context_(context) {
        const std::int64_t width = x.w_q.rows, dim = x.v.dim;
        m.scores.make_keys({x.w_q, x.w_k, x.v_a}, x.k, context);
        m.queries.resize(static_cast<std::size_t>(x.q.tokens * width));
        dense::multiply(dense::matrices_of(x.q), x.w_q, {m.queries.data(), 1, x.q.tokens, width},
                        {.b_transposed = true}, context);
        m.half.resize(static_cast<std::size_t>(width));
        m.weights.resize(static_cast<std::size_t>(round_up(x.k.tokens, keys_of_task)));
        m.state.assign(static_cast<std::size_t>(dim), 0.f);
        std::copy(x.state.begin(), x.state.end(), m.state.begin());
        m.recurrent.resize(static_cast<std::size_t>(dim));
    }

    /// r of token t is m.state then, its weights m.weights.
    void step(std::int64_t t) {
        const std::int64_t width = x_.w_q.rows, dim = x_.v.dim, keys = x_.k.tokens;
        const Matrices<const float> r{m_.state.data(), 1, 1, dim};
        std::copy_n(m_.queries.data() + t * width, width, m_.half.data());
        dense::multiply(r, x_.w_r, {m_.half.data(), 1, 1, width}, {.b_transposed = true, .add = true}, context_);
        m_.scores.set_query(m_.half.data());
        run_tasks(context_.executor(), ceil_div(keys, keys_of_task), [&](std::int64_t i, int) {
            const std::int64_t begin = i * keys_of_task;
            network::tanh_scores_of_row()(m_.scores.scores(), 0, 0, begin, std::min(keys_of_task, keys - begin),
                                          m_.weights.data() + begin);
        });
        dense::softmax_row()(m_.weights.data(), keys, 1.f, nullptr);

        const Matrices<float> next{m_.recurrent.data(), 1, 1, dim};
        dense::multiply(r, x_.w_rr, next, {.b_transposed = true}, context_);
        network::tanh_row()(m_.recurrent.data(), dim);
        dense::multiply({m_.weights.data(), 1, 1, keys}, dense::matrices_of(x_.v), next, {.add = true}, context_);
        std::swap(m_.state, m_.recurrent);
    }

private:
    static constexpr std::int64_t keys_of_task = 512;

    const ImpatientInputs& x_;
    Memory& m_;
    Context& context_;
};

inline void check_impatient(const ImpatientInputs& x, const ImpatientOutputs& out) {
    LetterSizes known;
    known.set("1", 1);
    CheckedCall check("impatient", InputList(x), known);
    check.scratch("W_k k", 1, x.k.tokens, x.w_k.rows);
    check.scratch("W_q q", 1, x.q.tokens, x.w_q.rows);
    check.output("o", out.o, 1, x.q.tokens, x.v.dim);
    check.output("weights", out.weights, 1, x.q.tokens, x.k.tokens);
    check.output("state", out.state, 1, 1, x.v.dim);
}

}  // namespace detail

ATTENTA_INLINE void impatient(const ImpatientInputs& x, const ImpatientOutputs& out, const ImpatientOptions&,
                              Context& context) {
    detail::check_impatient(x, out);
    const detail::CallMemory<detail::ImpatientReader::Memory> memory(x.q.tokens, context);
    detail::ImpatientReader reader(x, *memory, context);
    for (std::int64_t t = 0; t < x.q.tokens; ++t) {
        reader.step(t);
        std::copy(memory->state.begin(), memory->state.end(), out.o.row(0, t));
        if (out.weights) std::copy_n(memory->weights.data(), x.k.tokens, out.weights + t * x.k.tokens);
    }
    if (out.state) std::copy(memory->state.begin(), memory->state.end(), out.state);
}

ATTENTA_END
