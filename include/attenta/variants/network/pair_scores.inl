#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/variants/network/pair_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void make_key_half(Matrices<const float> w, Heads<const float> k, float* to, Context& context) {
    const std::int64_t stride = key_table_stride(k.tokens);
    for (std::int64_t row = 0; row < k.heads * w.rows; ++row)
        std::fill(to + row * stride + k.tokens, to + (row + 1) * stride, 0.f);
    dense::multiply(w, dense::matrices_of(k), {to, k.heads, w.rows, k.tokens, stride, w.rows * stride},
                    {.b_transposed = true}, context);
}

ATTENTA_INLINE void TanhPairScores::size_queries(std::int64_t heads, std::int64_t queries, std::int64_t key_heads) {
    heads_ = heads;
    const std::int64_t width = scores_.plain.width, rows = heads * queries;
    query_.resize(static_cast<std::size_t>(rows * width));
    query_exp_.resize(static_cast<std::size_t>(rows * scores_.exponential.width));
    query_size_.resize(static_cast<std::size_t>(rows));
    scores_.query_size = query_size_.data();
    for (const auto& [halves, data] :
         {std::pair{&scores_.plain, query_.data()}, {&scores_.exponential, query_exp_.data()}}) {
        halves->query = data;
        halves->queries = queries;
        halves->group = heads / key_heads;
    }
}

ATTENTA_INLINE void TanhPairScores::make_keys(const TanhNetwork& n, Heads<const float> k, Context& context) {
    const std::int64_t width = n.w_k.rows, padded = round_up(width, network::TanhScores::channels_at_once),
                       stride = key_table_stride(k.tokens);
    scores_.plain.width = width;
    scores_.exponential.width = padded;
    key_.resize(static_cast<std::size_t>(k.heads * width * stride));
    key_exp_.assign(static_cast<std::size_t>(k.heads * padded * stride), 0.f);
    key_size_.resize(static_cast<std::size_t>(k.heads * stride));
    make_key_half(n.w_k, k, key_.data(), context);
    constexpr std::int64_t columns = 256;
    const std::int64_t tasks = ceil_div(stride, columns);
    const network::FinishKeys finish = network::finish_tanh_keys();
    run_tasks(context.executor(), k.heads * tasks, [&](std::int64_t i, int) {
        const std::int64_t h = i / tasks, begin = i % tasks * columns;
        finish({key_.data() + h * width * stride, key_exp_.data() + h * padded * stride, key_size_.data() + h * stride,
                width, stride, begin, std::min(begin + columns, stride), n.b.empty() ? nullptr : n.b.data()});
    });

    v_.resize(static_cast<std::size_t>(width));
    minus_2v_.assign(static_cast<std::size_t>(padded), 0.f);
    double sum = 0;
    for (std::size_t a = 0; a < v_.size(); ++a) {
        v_[a] = n.scale * n.v[a];
        minus_2v_[a] = -2.f * v_[a];
        sum += static_cast<double>(v_[a]);
    }
    scores_.plain.key = key_.data();
    scores_.exponential.key = key_exp_.data();
    scores_.plain.key_stride = scores_.exponential.key_stride = stride;
    scores_.key_size = key_size_.data();
    scores_.v = v_.data();
    scores_.minus_2v = minus_2v_.data();
    scores_.sum_of_v = static_cast<float>(sum);
    size_queries(1, 1, 1);
}

ATTENTA_INLINE void TanhPairScores::set_query(const float* half) {
    std::copy_n(half, query_.size(), query_.data());
    query_size_[0] =
        network::finish_tanh_query()(half, scores_.plain.width, query_exp_.data(), scores_.exponential.width);
}

ATTENTA_INLINE void TanhPairScores::make(const TanhNetwork& n, Heads<const float> q, Heads<const float> k,
                                         Context& context) {
    make_keys(n, k, context);
    size_queries(q.heads, q.tokens, k.heads);
    const std::int64_t width = scores_.plain.width, padded = scores_.exponential.width, rows = q.heads * q.tokens;
    dense::multiply(dense::matrices_of(q), n.w_q, {query_.data(), q.heads, q.tokens, width}, {.b_transposed = true},
                    context);
    constexpr std::int64_t of_task = 64;
    const network::FinishQuery finish = network::finish_tanh_query();
    run_tasks(context.executor(), ceil_div(rows, of_task), [&](std::int64_t i, int) {
        for (std::int64_t r = i * of_task; r < std::min(rows, (i + 1) * of_task); ++r)
            query_size_[static_cast<std::size_t>(r)] =
                finish(query_.data() + r * width, width, query_exp_.data() + r * padded, padded);
    });
}

/// What queries and keys of products that are left out point to; it is read-only, so no output can lie there.
inline constexpr float zero_channel = 0;

ATTENTA_INLINE SoftmaxCall check_pairs(const PairCall& c, const VisibleKeys& visibility, Context& context) {
    const char* const f = c.function;
    check_given(f, c.inputs);
    if (c.kv.tied > 0) fail(f, "keys of kv lie in their values, needs keys of their own");
    if (c.kv.sequences != 1) fail(f, "kv has " + checks::text(c.kv.sequences) + " sequences, needs one");
    LetterSizes known;
    known.set("1", 1);
    check_shapes(f, c.inputs, known);
    for (const Input& in : c.inputs)
        if (in.given() && (in.view.heads < 1 || in.view.tokens < 1 || in.view.dim < 1))
            fail(f, std::string(in.name) + " is " + checks::shape(in.view.heads, in.view.tokens, in.view.dim) +
                        ", needs at least 1 of each");
    SoftmaxCall call = check_softmax(
        {f, c.inputs, {&zero_channel, c.q.heads, c.q.tokens, c.kv.k.dim, 0, 0}, c.kv, c.out, c.scale, visibility},
        context);
    if (c.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
    if (visibility.causal && !visibility.q_offset && c.q.tokens > c.kv.length(0))
        fail(f, "q has " + checks::text(c.q.tokens) + " tokens, causal needs at most the " +
                    checks::text(c.kv.length(0)) + " of k");
    call.request.q = c.q;
    return call;
}

ATTENTA_INLINE void check_table(const char* f, const char* name, std::int64_t heads, std::int64_t tokens,
                                std::int64_t width) {
    if (checks::elements(heads, tokens, width) > checks::most_elements)
        fail(f, std::string(name) + " would be " + checks::shape(heads, tokens, width) +
                    ", memory does not hold as many elements");
}

ATTENTA_INLINE void leave_products_out(attention::Request& r) {
    r.q = {&zero_channel, r.q.heads, r.q.tokens, 1, 0, 0};
    r.kv.k = {&zero_channel, Dtype::f32, 1};
    r.scale = 1;
}

}  // namespace detail

ATTENTA_END
