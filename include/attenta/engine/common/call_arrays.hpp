// Arrays for the time of a call, and the rows of its tensors as tasks.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

ATTENTA_BEGIN

namespace detail {

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

}  // namespace detail

ATTENTA_END
