// What a call needs beside the engines' scratch.
#pragma once

#include <attenta/core/context.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace detail {

/// A T for the time of a call: of a step with few queries the context's, so that steady steps allocate nothing; that of a
/// prefill goes with the call.
template <class T>
class CallMemory {
public:
    CallMemory(std::int64_t queries, Context& context)
        : memory_(queries <= most_step_queries ? &context.kept<T>() : &own_.emplace()) {}
    CallMemory(const CallMemory&) = delete;
    CallMemory& operator=(const CallMemory&) = delete;

    T& operator*() const { return *memory_; }
    T* operator->() const { return memory_; }

private:
    static constexpr std::int64_t most_step_queries = 16;

    std::optional<T> own_;
    T* memory_;
};

}  // namespace detail

ATTENTA_END
