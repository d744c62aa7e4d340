#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/own_keys.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

ATTENTA_INLINE void join_own_keys(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                  std::span<const std::uint8_t> has_key, float scale, Heads<float> o, float* lse,
                                  Context& context) {
    constexpr std::int64_t tokens_of_task = 64;
    const std::int64_t tasks = (q.tokens + tokens_of_task - 1) / tokens_of_task, of_k = q.heads / k.heads,
                       of_v = q.heads / v.heads;
    const JoinKeyFunction join = join_key();
    run_tasks(context.executor(), q.heads * tasks, [&](std::int64_t i, int) {
        const std::int64_t h = i / tasks, begin = i % tasks * tokens_of_task;
        for (std::int64_t t = begin; t < std::min(begin + tokens_of_task, q.tokens); ++t) {
            if (!has_key.empty() && has_key[static_cast<std::size_t>(t)] == 0) continue;
            float& sum = lse[h * q.tokens + t];
            sum = join(q.row(h, t), k.row(h / of_k, t), q.dim, scale, v.row(h / of_v, t), v.dim, o.row(h, t), sum);
        }
    });
}

ATTENTA_END
