// Prefetching, line by line beside the work.
#pragma once

#include <attenta/simd/arch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace simd {

inline constexpr int cache_line = 64;  ///< bytes
template <class T>
inline constexpr int per_line = cache_line / static_cast<int>(sizeof(T));  ///< elements of a line

/// The cache that a prefetched line comes to; the numbers are those of __builtin_prefetch.
enum class Level { l2 = 2, l1 = 3 };

/// Prefetches a line. What is in L2 and needed at once comes to L1, what is in memory to L2 or L1 as
/// Tuning::prefetch_to_l1 says (engine/common/tuning.hpp).
template <Level To = Level::l2>
ATTENTA_ALWAYS_INLINE void prefetch_line(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, static_cast<int>(To));
#else
    static_cast<void>(p);
#endif
}

/// Memory answers several streams faster than one: the i-th of n rows when they are taken from `streams` parts in turn.
constexpr std::int64_t in_streams(std::int64_t i, std::int64_t n, std::int64_t streams) {
    const std::int64_t part = n / streams;
    return i < streams * part ? i % streams * part + i / streams : i;
}

/// Prefetches the lines of N elements.
template <int N, Level To = Level::l2, class T>
ATTENTA_ALWAYS_INLINE void prefetch(const T* x) {
    unrolled<(N + per_line<T> - 1) / per_line<T>>([&](auto i)
                                                      ATTENTA_FLATTEN { prefetch_line<To>(x + i * per_line<T>); });
}

/// Prefetches the lines of a row of n elements.
template <Level To = Level::l2, class T>
ATTENTA_ALWAYS_INLINE void prefetch_row(const T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += per_line<T>) prefetch_line<To>(x + i);
}

/// Prefetches a block of memory.
class BlockPrefetch {
    static constexpr std::int64_t line = per_line<float>;

public:
    explicit BlockPrefetch(std::span<const float> block)
        : begin_(block.data()), lines_(static_cast<std::int64_t>(block.size()) / line) {}
    ATTENTA_ALWAYS_INLINE void prefetch() {
        if (at_ < lines_) prefetch_line(begin_ + in_streams(at_++, lines_, 4) * line);
    }

private:
    const float* begin_;
    std::int64_t lines_, at_ = 0;
};

/// Prefetches memory line by line, in its order.
class LinePrefetch {
public:
    LinePrefetch() = default;
    LinePrefetch(const std::byte* begin, std::int64_t bytes) : at_(begin), end_(begin + bytes) {}
    template <int Lines>
    ATTENTA_ALWAYS_INLINE void prefetch() {
        unrolled<Lines>([&](auto) ATTENTA_FLATTEN {
            if (at_ >= end_) return;
            prefetch_line(at_);
            at_ += cache_line;
        });
    }

private:
    const std::byte *at_ = nullptr, *end_ = nullptr;
};

/// Prefetches rows, in their own order. A line costs three or more instructions: of more than one for a group of FMAs, the
/// products wait.
class PrefetchQueue {
public:
    PrefetchQueue() = default;
    /// `bytes` bytes from `offset` on of each row.
    PrefetchQueue(const std::byte* const* first, const std::byte* const* last, std::int64_t offset, std::int64_t bytes,
                  bool prefetch_to_l1 = false)
        : row_(first),
          last_(last),
          offset_(offset),
          whole_((bytes + cache_line - 1) / cache_line * cache_line),
          to_l1_(prefetch_to_l1) {}

    /// Still to be prefetched.
    std::int64_t lines() const { return ((end_ - at_) + (last_ - row_) * whole_) / cache_line; }
    /// Prefetches a line; false if there is none left.
    ATTENTA_ALWAYS_INLINE bool prefetch() {
        if (at_ == end_) {
            if (row_ == last_) return false;
            at_ = *row_++ + offset_;
            end_ = at_ + whole_;
        }
        if (to_l1_)
            prefetch_line<Level::l1>(at_);
        else
            prefetch_line(at_);
        at_ += cache_line;
        return true;
    }
    template <int Lines>
    ATTENTA_ALWAYS_INLINE void prefetch() {
        unrolled<Lines>([&](auto) ATTENTA_FLATTEN { prefetch(); });
    }

private:
    const std::byte *const *row_ = nullptr, *const *last_ = nullptr;
    std::int64_t offset_ = 0, whole_ = 0;  ///< bytes of a row in whole lines
    const std::byte *at_ = nullptr, *end_ = nullptr;
    bool to_l1_ = false;
};

/// Prefetches rows of keys, then of values.
struct KeyValuePrefetch {
    PrefetchQueue keys, values;

    std::int64_t lines() const { return keys.lines() + values.lines(); }
    ATTENTA_ALWAYS_INLINE void prefetch() {
        if (keys.prefetch()) return;
        keys = values;
        values = {};
        keys.prefetch();
    }
};

}  // namespace simd

ATTENTA_END
