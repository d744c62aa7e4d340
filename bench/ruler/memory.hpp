// Memory of the kind that engines keep K and V in: aligned to 2 MiB, huge pages advised.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bench {

class HugeBuffer {
public:
    static constexpr std::size_t alignment = std::size_t{2} << 20;

    HugeBuffer() = default;
    explicit HugeBuffer(std::size_t bytes) : size_((bytes + alignment - 1) / alignment * alignment) {
        data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, size_)));
        if (!data_) throw std::bad_alloc();
#if defined(__linux__)
        madvise(data_.get(), size_, MADV_HUGEPAGE);
#endif
    }

    std::byte* data() const { return data_.get(); }
    std::size_t size() const { return size_; }

private:
    struct Free {
        void operator()(std::byte* p) const { std::free(p); }
    };
    std::unique_ptr<std::byte, Free> data_;
    std::size_t size_ = 0;
};

}  // namespace bench
