#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/projections/head_embedding.hpp>
#include <attenta/variants/projections/head_embedding_kernels.hpp>

#include <algorithm>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct HeadEmbeddingMemory {
    std::vector<float> q, lse;
};

/// make(head, query) for all rows, side by side.
template <class F>
void for_embedded_rows(std::int64_t heads, std::int64_t queries, Context& context, F&& make) {
    constexpr std::int64_t together = 64;  // rows of a task
    const std::int64_t rows = heads * queries;
    run_tasks(context.executor(), ceil_div(rows, together), [&](std::int64_t task, int) {
        for (std::int64_t r = task * together; r < std::min(rows, (task + 1) * together); ++r)
            make(r / queries, r % queries);
    });
}

}  // namespace detail

ATTENTA_INLINE void head_embedding(const HeadEmbeddingInputs& x, const SoftmaxOutputs& out,
                                   const HeadEmbeddingOptions& options, Context& context) {
    const char* const f = "head_embedding";
    if (static_cast<int>(options.mode) > static_cast<int>(HeadEmbeddingMode::mul))
        fail(f, "mode is none of HeadEmbeddingMode");
    const InputList inputs(x);
    check_given(f, inputs);
    LetterSizes known;
    known.set("1", 1);
    check_shapes(f, inputs, known);
    checks::check_apart(f, "o", bytes_of(out.o), detail::memory_of(inputs));
    // All heads have the query of the token.
    const std::int64_t heads = x.e_q.rows, queries = x.q.tokens, dim = x.q.dim;
    const Heads<const float> shared{x.q.data, heads, queries, dim, 0, x.q.token_stride};
    detail::SoftmaxCall call = detail::check_softmax(
        {f, inputs, shared, x.kv, out, detail::scale_or_default(options.scale, std::max<std::int64_t>(dim, 1)),
         options.visibility},
        context);
    detail::check_causal(f, options.visibility, queries, call.keys());

    const bool add = options.mode == HeadEmbeddingMode::add;
    detail::CallMemory<detail::HeadEmbeddingMemory> own(queries, context);
    own->q.resize(static_cast<std::size_t>(heads * queries * dim));
    const Heads<float> q = hnd(own->q.data(), heads, queries, dim);
    const detail::EmbedRow embed = add ? detail::add_embedding() : detail::multiply_embedding();
    detail::for_embedded_rows(heads, queries, context, [&](std::int64_t h, std::int64_t i) {
        embed(x.q.row(0, i), x.e_q.row(0, h), dim, q.row(h, i));
        if (!add) embed(q.row(h, i), x.e_k.row(0, h), dim, q.row(h, i));
    });
    call.request.q = q;
    if (!out.lse) {
        own->lse.resize(static_cast<std::size_t>(heads * queries));
        call.out.lse = own->lse.data();
    }
    call.run();
    detail::for_embedded_rows(heads, queries, context, [&](std::int64_t h, std::int64_t i) {
        float& lse = call.out.lse[h * queries + i];
        if (lse == -std::numeric_limits<float>::infinity()) return;  // without keys there is no value
        embed(out.o.row(h, i), x.e_v.row(0, h), out.o.dim, out.o.row(h, i));
        if (add) lse += call.request.scale * detail::embedding_product()(q.row(h, i), x.e_k.row(0, h), dim);
    });
}

ATTENTA_END
