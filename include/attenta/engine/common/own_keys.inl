#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/own_keys.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

ATTENTA_INLINE void join_own_keys(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                  std::span<const std::uint8_t> has_key, float scale, const RowStatistics* rows,
                                  Heads<float> o, float* lse, Context& context) {
    constexpr std::int64_t tokens_of_task = 16;
    const std::int64_t of_k = q.heads / k.heads, of_v = q.heads / v.heads;
    const JoinKey join = join_key();
    run_tasks(context.executor(), (q.tokens + tokens_of_task - 1) / tokens_of_task, [&](std::int64_t task, int) {
        const std::int64_t begin = task * tokens_of_task, end = std::min(begin + tokens_of_task, q.tokens);
        for (std::int64_t h = 0; h < q.heads; ++h)
            for (std::int64_t t = begin; t < end; ++t) {
                RowStatistics row = rows[h * q.tokens + t];
                if (has_key.empty() || has_key[static_cast<std::size_t>(t)] != 0)
                    row = join({k.row(h / of_k, t), v.row(h / of_v, t), q.dim, v.dim, scale}, q.row(h, t), row,
                               o.row(h, t));
                if (lse) lse[h * q.tokens + t] = row.lse();
            }
    });
}

ATTENTA_END
