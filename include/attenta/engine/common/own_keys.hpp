// One more key for each query, of its own: an unfinished run, a sentinel, a learned key.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

/// A key and a value that join a finished row o of attention.
struct JoiningKey {
    const float *key, *value;
    std::int64_t dim, dim_v;
    float scale;
};
/// The row's statistics with the score `scale · q·key` among them; o becomes the output over all keys.
using JoinKey = RowStatistics (*)(const JoiningKey& key, const float* q, const RowStatistics& row, float* o);
ATTENTA_DECLARE_KERNEL(JoinKey, join_key)

/// The own keys of a call that is done otherwise, with the statistics `rows` [Hq, tokens]: query t of head h meets row t of head
/// h / (Hq / heads of k) of k and v; strides of 0 give all queries or heads the same one. `has_key` [tokens] may leave queries
/// without; empty: all have one. lse [Hq, tokens] or null. All shapes have been checked.
void join_own_keys(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                   std::span<const std::uint8_t> has_key, float scale, const RowStatistics* rows, Heads<float> o,
                   float* lse, Context& context);

ATTENTA_END
