// What the mechanisms of low rank share: the checks of a call, and arrays for its time.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

using LowRankCheck = CheckedCall;

/// What is written, to be read.
inline Matrices<const float> read(const Matrices<float>& x) {
    return {x.data, x.heads, x.rows, x.cols, x.row_stride, x.head_stride};
}

/// to = factor · from, `n` numbers.
void scale_numbers(const float* from, float factor, float* to, std::int64_t n, Context& context);

/// Products of keys or queries x [H, T, D] with the matrices [Hb, D, R] of their heads, times alpha; to [H, T, R].
void project(Heads<const float> x, Matrices<const float> basis, float alpha, Heads<float> to, Context& context);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/lowrank/common.inl>
#include <attenta/lowrank/kernels.inl>
#endif
