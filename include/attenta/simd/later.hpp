// Memory that will be needed later, asked for line by line beside the work.
#pragma once

#include <attenta/simd/arch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace simd {

/// Memory answers several streams faster than one: the i-th of n rows when they are taken from `streams` parts in turn.
constexpr std::int64_t in_streams(std::int64_t i, std::int64_t n, std::int64_t streams) {
    const std::int64_t part = n / streams;
    return i < streams * part ? i % streams * part + i / streams : i;
}

/// Asks for the lines of N elements.
template <int N, Level To = Level::l2, class T>
ATTENTA_ALWAYS_INLINE void ask(const T* x) {
    unrolled<(N + per_line<T> - 1) / per_line<T>>([&](auto i) ATTENTA_FLATTEN { prefetch<To>(x + i * per_line<T>); });
}

/// Asks for the lines of a row of n elements.
template <Level To = Level::l2, class T>
ATTENTA_ALWAYS_INLINE void ask_row(const T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += per_line<T>) prefetch<To>(x + i);
}

/// A block of memory.
class LinesAhead {
    static constexpr std::int64_t line = per_line<float>;

public:
    explicit LinesAhead(std::span<const float> block)
        : begin_(block.data()), lines_(static_cast<std::int64_t>(block.size()) / line) {}
    ATTENTA_ALWAYS_INLINE void ask() {
        if (at_ < lines_) prefetch(begin_ + in_streams(at_++, lines_, 4) * line);
    }

private:
    const float* begin_;
    std::int64_t lines_, at_ = 0;
};

/// Rows, in their own order. A line is a handful of instructions: between products, more take the places of products.
class LaterRows {
public:
    LaterRows() = default;
    /// `bytes` bytes from `offset` on of each row.
    LaterRows(const std::byte* const* first, const std::byte* const* last, std::int64_t offset, std::int64_t bytes,
              bool into_l1 = false)
        : row_(first),
          last_(last),
          offset_(offset),
          whole_((bytes + cache_line - 1) / cache_line * cache_line),
          into_l1_(into_l1) {}

    /// Still to be asked for.
    std::int64_t lines() const { return ((end_ - at_) + (last_ - row_) * whole_) / cache_line; }
    /// Asks for a line; false if there is none left.
    ATTENTA_ALWAYS_INLINE bool ask() {
        if (at_ == end_) {
            if (row_ == last_) return false;
            at_ = *row_++ + offset_;
            end_ = at_ + whole_;
        }
        if (into_l1_)
            prefetch<Level::l1>(at_);
        else
            prefetch(at_);
        at_ += cache_line;
        return true;
    }
    template <int Lines>
    ATTENTA_ALWAYS_INLINE void ask() {
        unrolled<Lines>([&](auto) ATTENTA_FLATTEN { ask(); });
    }

private:
    const std::byte *const *row_ = nullptr, *const *last_ = nullptr;
    std::int64_t offset_ = 0, whole_ = 0;  ///< bytes of a row in whole lines
    const std::byte *at_ = nullptr, *end_ = nullptr;
    bool into_l1_ = false;
};

/// Rows of keys, then of values.
struct LaterKeysAndValues {
    LaterRows keys, values;

    std::int64_t lines() const { return keys.lines() + values.lines(); }
    ATTENTA_ALWAYS_INLINE void ask() {
        if (keys.ask()) return;
        keys = values;
        values = {};
        keys.ask();
    }
};

}  // namespace simd

ATTENTA_END
