// Views of tensors that belong to somebody else.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

/// A tensor [heads, tokens, dim] with any order of heads and tokens in memory; `dim` is contiguous. Strides count
/// elements. Never owns.
template <class T>
struct Heads {
    T* data = nullptr;
    std::int64_t heads = 0, tokens = 0, dim = 0;
    std::int64_t head_stride = 0, token_stride = 0;

    T* row(std::int64_t head, std::int64_t token) const { return data + head * head_stride + token * token_stride; }

    /// Tokens [begin, begin + count) of every head.
    Heads slice(std::int64_t begin, std::int64_t count) const {
        return {row(0, begin), heads, count, dim, head_stride, token_stride};
    }

    operator Heads<const T>() const requires(!std::is_const_v<T>) {
        return {data, heads, tokens, dim, head_stride, token_stride};
    }
};

/// Memory [heads, tokens, dim].
template <class T>
Heads<T> hnd(T* data, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    return {data, heads, tokens, dim, tokens * dim, dim};
}

/// Memory [tokens, heads, dim].
template <class T>
Heads<T> nhd(T* data, std::int64_t tokens, std::int64_t heads, std::int64_t dim) {
    return {data, heads, tokens, dim, dim, heads * dim};
}

/// A plain array [rows, cols] per head (`heads` is 1 where all heads share it); `cols` is contiguous.
template <class T>
struct Matrices {
    T* data = nullptr;
    std::int64_t heads = 0, rows = 0, cols = 0;

    explicit operator bool() const { return data != nullptr; }
    T* row(std::int64_t head, std::int64_t r) const { return data + ((heads == 1 ? 0 : head) * rows + r) * cols; }
};

ATTENTA_END
