// What the mechanisms of low rank share: the checks of a call, and arrays for its time.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/call_check.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

using LowRankCheck = CallCheck;

/// Arrays of floats that the context keeps from call to call, so that steady calls allocate nothing.
class CallArrays {
public:
    explicit CallArrays(Context& context) : memory_(context.kept<Memory>()) {}
    CallArrays(const CallArrays&) = delete;
    CallArrays& operator=(const CallArrays&) = delete;

    /// Without defined contents; stays where it is until the call ends.
    float* take(std::int64_t n) {
        if (used_ == memory_.arrays.size()) memory_.arrays.emplace_back();
        std::vector<float>& array = memory_.arrays[used_++];
        if (array.size() < static_cast<std::size_t>(n)) array.resize(static_cast<std::size_t>(n));
        return array.data();
    }
    Heads<float> heads(std::int64_t count, std::int64_t tokens, std::int64_t dim) {
        return hnd(take(count * tokens * dim), count, tokens, dim);
    }

private:
    struct Memory {
        std::deque<std::vector<float>> arrays;
    };

    Memory& memory_;
    std::size_t used_ = 0;
};

/// f(head, begin, end) for all rows of all heads, `rows` of them a task.
template <class F>
void for_rows(Context& context, std::int64_t heads, std::int64_t count, std::int64_t rows, F&& f) {
    const std::int64_t parts = (count + rows - 1) / rows;
    context.executor().parallel_for(heads * parts, [&](std::int64_t i, int) {
        const std::int64_t begin = i % parts * rows, end = begin + rows;
        f(i / parts, begin, end < count ? end : count);
    });
}
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
#include <attenta/engine/common/call_check.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/lowrank/common.inl>
#include <attenta/lowrank/kernels.inl>
#endif
