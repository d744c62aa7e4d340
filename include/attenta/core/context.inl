#pragma once

#include <attenta/core/context.hpp>

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

ATTENTA_BEGIN

namespace detail {

inline constexpr std::size_t huge_page = std::size_t{1} << 21;

inline SerialExecutor& serial_executor() {
    static SerialExecutor e;
    return e;
}

}  // namespace detail

ATTENTA_INLINE Workspace::~Workspace() { free(); }

ATTENTA_INLINE void Workspace::free() {
    if (!data_) return;
    if (allocator_.release)
        allocator_.release(data_, size_);
    else
        ::operator delete (data_, std::align_val_t{detail::huge_page});
    data_ = nullptr;
    size_ = 0;
}

ATTENTA_INLINE std::byte* Workspace::reserve(std::size_t bytes) {
    if (bytes <= size_) return data_;
    free();
    const std::size_t rounded = (bytes + detail::huge_page - 1) / detail::huge_page * detail::huge_page;
    if (allocator_.allocate) {
        data_ = static_cast<std::byte*>(allocator_.allocate(rounded));
    } else {
        data_ = static_cast<std::byte*>(::operator new (rounded, std::align_val_t{detail::huge_page}));
#if defined(__linux__)
        ::madvise(data_, rounded, MADV_HUGEPAGE);
#endif
    }
    size_ = rounded;
    return data_;
}

ATTENTA_INLINE Context::Context() : executor_(&detail::serial_executor()) {}

ATTENTA_INLINE Context& default_context() {
    static thread_local Context context;
    return context;
}

ATTENTA_END
