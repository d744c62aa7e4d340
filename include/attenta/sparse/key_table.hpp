// Rows that a selection keeps beside a cache and ranks instead of its keys: bounds of pages, means of blocks, low-rank or
// index keys. A value that grows with the cache, O(D) for each new key.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

class KeyTable {
public:
    KeyTable() = default;
    /// Without rows. Throws Error on sizes below 1.
    KeyTable(std::int64_t heads, std::int64_t dim, Dtype storage = Dtype::f32);

    std::int64_t heads() const { return heads_; }
    std::int64_t dim() const { return dim_; }
    std::int64_t rows() const { return rows_; }
    Dtype storage() const { return storage_; }

    /// Adds rows x [heads, n, dim], rounded to the nearest of the storage type. Throws Error where sizes differ.
    void append(Heads<const float> x);
    /// Adds n rows of zeros.
    void append(std::int64_t n);
    /// Overwrites a row of a head with dim numbers.
    void set(std::int64_t head, std::int64_t row, const float* x);
    /// Reads one.
    void get(std::int64_t head, std::int64_t row, float* x) const;
    void clear() { rows_ = 0; }

    /// K and V [heads, rows, dim] are these rows. Valid until the next append.
    KvView view() const;

private:
    std::byte* at(std::int64_t head, std::int64_t row) const;

    std::int64_t heads_ = 0, dim_ = 0, rows_ = 0, capacity_ = 0;
    Dtype storage_ = Dtype::f32;
    std::vector<std::byte> memory_;  ///< [heads, capacity, dim]
};

namespace detail {

/// f(const T*) with T the element type.
template <class F>
void with_elements(Dtype type, F&& f) {
    if (type == Dtype::f32) return f(static_cast<const float*>(nullptr));
    if (type == Dtype::bf16) return f(static_cast<const bfloat16*>(nullptr));
    f(static_cast<const float16*>(nullptr));
}

/// Row `token` of a head of the keys of a cache of one sequence, as floats.
void read_key(const KvView& kv, std::int64_t head, std::int64_t token, float* x);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/key_table.inl>
#endif
