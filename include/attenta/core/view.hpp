// Views of tensors that belong to somebody else.
#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/config.hpp>
#include <attenta/core/dtype.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/saturating.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
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

    /// Tokens [begin, begin + count) of every head. Throws Error if there are not so many.
    Heads slice(std::int64_t begin, std::int64_t count) const {
        if (begin < 0 || count < 0 || begin > tokens || count > tokens - begin)
            fail("Heads::slice", std::to_string(count) + " tokens from token " + std::to_string(begin) +
                                     " on are asked for, there are " + std::to_string(tokens));
        return {row(0, begin), heads, count, dim, head_stride, token_stride};
    }

    operator Heads<const T>() const requires(!std::is_const_v<T>) {
        return {data, heads, tokens, dim, head_stride, token_stride};
    }
};

/// Strides where memory has gaps, in elements. The default of the inner one is `dim`, that of the outer one what the
/// inner axis takes. An inner stride of 0 is one row for all of the inner axis.
struct Strides {
    std::optional<std::int64_t> token_stride = {}, head_stride = {};
};

namespace detail {

/// What `count` rows of the inner axis take.
inline std::int64_t outer_stride(const char* function, std::int64_t count, std::int64_t stride, std::int64_t dim) {
    const CheckedInt n = stride == 0 ? CheckedInt(dim) : CheckedInt(count) * stride;
    if (!n.valid())
        fail(function, std::to_string(count) + " rows of " + std::to_string(stride) +
                           " elements are more than 64 bits can count");
    return n.value();
}

}  // namespace detail

/// Memory [heads, tokens, dim].
template <class T>
Heads<T> hnd(T* data, std::int64_t heads, std::int64_t tokens, std::int64_t dim, const Strides& strides = {}) {
    const std::int64_t inner = strides.token_stride.value_or(dim);
    const std::int64_t outer =
        strides.head_stride ? *strides.head_stride : detail::outer_stride("hnd", tokens, inner, dim);
    return {data, heads, tokens, dim, outer, inner};
}

/// Memory [tokens, heads, dim].
template <class T>
Heads<T> nhd(T* data, std::int64_t tokens, std::int64_t heads, std::int64_t dim, const Strides& strides = {}) {
    const std::int64_t inner = strides.head_stride.value_or(dim);
    const std::int64_t outer =
        strides.token_stride ? *strides.token_stride : detail::outer_stride("nhd", heads, inner, dim);
    return {data, heads, tokens, dim, inner, outer};
}

/// A dense tensor [batch, heads, tokens, dim]: sequences of equal length, each with its heads behind each other.
template <class T>
struct HeadsBatch {
    T* data = nullptr;
    std::int64_t batch = 0, heads = 0, tokens = 0, dim = 0;

    Heads<T> first() const { return hnd(data, heads, tokens, dim); }
    /// The heads of all sequences as if they were of one.
    Heads<T> all() const { return hnd(data, saturating::multiply(batch, heads), tokens, dim); }

    operator HeadsBatch<const T>() const requires(!std::is_const_v<T>) { return {data, batch, heads, tokens, dim}; }
};

template <class T>
HeadsBatch<T> bhnd(T* data, std::int64_t batch, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    return {data, batch, heads, tokens, dim};
}

/// A matrix [rows, cols] per head, `cols` contiguous, the rest at strides that count elements. A size of 1 is broadcast:
/// one matrix for all heads, one row for all rows. Without strides the memory is dense, [heads, rows, cols]; give them
/// together with the sizes.
template <class T>
struct Matrices {
    T* data = nullptr;
    std::int64_t heads = 0, rows = 0, cols = 0;
    std::int64_t row_stride = cols, head_stride = saturating::multiply(rows, row_stride);

    explicit operator bool() const { return data != nullptr; }
    /// Of the row of `head` and `r`, counted in elements from `data`.
    std::int64_t offset(std::int64_t head, std::int64_t r) const {
        return (heads == 1 ? 0 : head) * head_stride + (rows == 1 ? 0 : r) * row_stride;
    }
    T* row(std::int64_t head, std::int64_t r) const { return data + offset(head, r); }
};

/// The same, of elements whose type is known at run time.
struct FloatMatrices : Matrices<const void> {
    Dtype dtype = Dtype::f32;

    FloatMatrices() = default;
    template <class T>
    FloatMatrices(const Matrices<T>& m)
        : Matrices<const void>{m.data, m.heads, m.rows, m.cols, m.row_stride, m.head_stride},
          dtype(dtype_of<std::remove_const_t<T>>) {}
    template <class T>
    FloatMatrices(T* dense, std::int64_t of_heads, std::int64_t of_rows, std::int64_t of_cols)
        : FloatMatrices(Matrices<T>{dense, of_heads, of_rows, of_cols}) {}

    const void* row(std::int64_t head, std::int64_t r) const {
        return static_cast<const std::byte*>(data) + offset(head, r) * size_of(dtype);
    }
};

ATTENTA_END
