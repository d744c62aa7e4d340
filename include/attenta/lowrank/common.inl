#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/lowrank/common.hpp>
#include <attenta/lowrank/kernels.hpp>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void scale_numbers(const float* from, float factor, float* to, std::int64_t n, Context& context) {
    constexpr std::int64_t of_task = 1 << 14;
    for_rows(context, 1, n, of_task, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        lowrank::weighted_sum()({from + begin, 0, 1, end - begin}, nullptr, factor, false, to + begin);
    });
}

ATTENTA_INLINE void project(Heads<const float> x, Matrices<const float> basis, float alpha, Heads<float> to,
                            Context& context) {
    dense::multiply(dense::matrices_of(x), basis, dense::matrices_of(to), {.alpha = alpha}, context);
}

}  // namespace detail

ATTENTA_END
