#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/variants/network/neural.hpp>
#include <attenta/variants/network/pair_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct NeuralMemory {
    std::vector<float> keys, reduced, queries, key_half, panels, bias, weights;
    network::ReluScores scores;
};

inline void check_neural(const NeuralInputs& x) {
    if (x.w_1.cols != 2 * x.w_1.rows)
        fail("neural", "w_1 has " + checks::text(x.w_1.cols) + " columns, needs " + checks::text(2 * x.w_1.rows) +
                           ", twice its rows");
    check_table("neural", "W_q q", x.q.heads, x.q.tokens, x.w_q.rows);
    check_table("neural", "W_k k", x.kv.heads, x.kv.length(0), x.w_k.rows);
}

/// to = x wᵀ + b, rows of all heads behind each other.
inline Matrices<float> affine(const Heads<const float>& x, const Matrices<const float>& w, std::span<const float> b,
                              std::vector<float>& to, Context& context) {
    const std::int64_t rows = x.heads * x.tokens;
    to.resize(static_cast<std::size_t>(rows * w.rows));
    for (std::int64_t i = 0; i < rows; ++i) std::copy_n(b.data(), w.rows, to.data() + i * w.rows);
    const Matrices<float> result{to.data(), x.heads, x.tokens, w.rows};
    dense::multiply(dense::matrices_of(x), w, result, {.b_transposed = true, .add = true}, context);
    return result;
}

/// Rows of W_2 side by side in panels, zeros where there are none.
inline void pack_second_layer(const NeuralInputs& x, NeuralMemory& m) {
    constexpr std::int64_t panel = network::ReluScores::panel;
    const std::int64_t width = x.w_2.cols, rows = round_up(x.w_2.rows, panel);
    m.panels.assign(static_cast<std::size_t>(rows * width), 0.f);
    for (std::int64_t r = 0; r < x.w_2.rows; ++r)
        for (std::int64_t n = 0; n < width; ++n)
            m.panels[static_cast<std::size_t>(r / panel * panel * width + n * panel + r % panel)] = x.w_2.row(0, r)[n];
    for (const auto& [to, from] : {std::pair{&m.bias, x.b_2}, {&m.weights, x.w_3}}) {
        to->assign(static_cast<std::size_t>(rows), 0.f);
        std::copy(from.begin(), from.end(), to->begin());
    }
    m.scores.panels = m.panels.data();
    m.scores.bias = m.bias.data();
    m.scores.weights = m.weights.data();
    m.scores.rows = rows;
    m.scores.shift = x.b_3[0];
}

inline void make_relu_scores(const NeuralInputs& x, NeuralMemory& m, Context& context) {
    const std::int64_t width = x.w_1.rows, stride = key_table_stride(x.kv.length(0));
    const auto heads_of = [](const Matrices<float>& y) {
        return hnd(static_cast<const float*>(y.data), y.heads, y.rows, y.cols);
    };
    const Heads<const float> reduced = heads_of(affine(x.q, x.w_q, x.b_q, m.reduced, context));
    affine(reduced, columns_of(x.w_1, 0, width), x.b_1, m.queries, context);
    const Heads<const float> reduced_keys =
        heads_of(affine(keys_as_floats(x.kv, m.keys), x.w_k, x.b_k, m.reduced, context));
    m.key_half.resize(static_cast<std::size_t>(reduced_keys.heads * width * stride));
    make_key_half(columns_of(x.w_1, width, width), reduced_keys, m.key_half.data(), context);
    m.scores.halves = {m.queries.data(), m.key_half.data(), x.q.tokens, width, stride, x.q.heads / x.kv.heads};
}

}  // namespace detail

ATTENTA_INLINE void neural(const NeuralInputs& x, const SoftmaxOutputs& out, const NeuralOptions& options,
                           Context& context) {
    const InputList inputs(x);
    detail::SoftmaxCall call = detail::check_pairs({"neural", inputs, x.q, x.kv, out}, options.visibility, context);
    detail::check_neural(x);
    const detail::CallMemory<detail::NeuralMemory> memory(x.q.tokens, context);
    detail::make_relu_scores(x, *memory, context);
    detail::pack_second_layer(x, *memory);
    detail::attend_pairs(call, network::ReluPairs{&memory->scores});
}

ATTENTA_END
