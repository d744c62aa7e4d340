// Counts every call of operator new of the program, and lets one of them fail. For one file of a program: it replaces the
// operators.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::int64_t> allocations{0}, failing_allocation{0};  ///< the number of the one that fails

void* counted(std::size_t bytes, std::size_t alignment) {
    if (++allocations == failing_allocation) throw std::bad_alloc();
    void* p = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
    if (!p) throw std::bad_alloc();
    return p;
}

}  // namespace

// The other forms of new and delete call these.
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    try {
        return counted(bytes, alignof(std::max_align_t));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
