// Of rwkv4_wkv and bi_wkv: means with exponential weights, per channel.
#pragma once

#include <attenta/engine/elementwise/request.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The scale of a sum without terms. Finite: differences of it and of itself are numbers.
inline constexpr float wkv_no_terms = -1e38f;

/// Parameters of the task, whose rows are k, v and maybe r.
struct Rwkv4Task {
    Heads<const float> g, u;
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, rwkv4_task)

/// Parameters of the task, whose rows are k, v, maybe r and residual.
struct BiWkvTask {
    Heads<const float> w, u, alpha;  ///< [R, H, D] and [2, H, D]
    float w_factor, u_factor;
    bool apart;                  ///< the nearest other token has weight e^k: its distance counts from 1
    std::int64_t rows, columns;  ///< of the grid that passes 1, 3, ... walk column by column

    static constexpr std::int64_t sum_rows = 4;
    static constexpr std::int64_t scratch_rows = 4 + 2 * sum_rows;  ///< w, u, alpha, sums from either side
    static constexpr std::int64_t segment = 16;  ///< tokens whose sums from the right are held at once
    /// Those sums, and those behind each segment.
    static constexpr std::int64_t memory_rows(std::int64_t tokens) {
        return sum_rows * (segment + (tokens + segment - 1) / segment);
    }
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, bi_wkv_task)

}  // namespace detail

ATTENTA_END
