#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>

#include <cstdint>
#include <new>
#include <string>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

ATTENTA_BEGIN

namespace detail {

inline constexpr std::size_t huge_page = std::size_t{1} << 21, scratch_alignment = 64;

inline SerialExecutor& serial_executor() {
    static SerialExecutor e;
    return e;
}

}  // namespace detail

ATTENTA_INLINE Workspace::~Workspace() {
    if (data_) release(data_, size_);
}

ATTENTA_INLINE void Workspace::release(std::byte* memory, std::size_t bytes) const {
    if (!allocator_.allocate)
        ::operator delete (memory, std::align_val_t{detail::huge_page});
    else if (allocator_.release)
        allocator_.release(memory, bytes);
}

/// Null where there is none.
ATTENTA_INLINE std::byte* Workspace::allocate(std::size_t bytes) const {
    if (allocator_.allocate) return static_cast<std::byte*>(allocator_.allocate(bytes));
    auto* memory = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{detail::huge_page}, std::nothrow));
#if defined(__linux__)
    if (memory) ::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

/// The old memory goes when the new one is there: other plans of the context live on it.
ATTENTA_INLINE std::byte* Workspace::reserve(std::size_t bytes) {
    if (bytes <= size_) return data_;
    const auto refuse = [&](const char* why) { fail("Workspace::reserve", std::to_string(bytes) + why); };
    constexpr std::size_t most = static_cast<std::size_t>(PTRDIFF_MAX) - detail::huge_page;
    if (bytes > most) refuse(" bytes are more than any machine has");
    const std::size_t rounded = (bytes + detail::huge_page - 1) / detail::huge_page * detail::huge_page;
    std::byte* const memory = allocate(rounded);
    if (!memory) refuse(" bytes are more than there are");
    if (reinterpret_cast<std::uintptr_t>(memory) % detail::scratch_alignment != 0) {
        release(memory, rounded);
        refuse(" bytes came at an address that is no multiple of 64");
    }
    if (data_) release(data_, size_);
    data_ = memory;
    size_ = rounded;
    return data_;
}

ATTENTA_INLINE Context::Context() : executor_(&detail::serial_executor()) {}

ATTENTA_INLINE Context::Context(Executor& executor, Allocator allocator)
    : executor_(&executor), workspace_(std::move(allocator)) {
    if (executor.concurrency() < 1)
        fail("Context",
             "the executor's concurrency is " + std::to_string(executor.concurrency()) + ", needs at least 1");
}

ATTENTA_INLINE Context& default_context() {
    static thread_local Context context;
    return context;
}

ATTENTA_END
