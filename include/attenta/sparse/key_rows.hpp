// Rows that a mechanism keeps beside a cache: bounds of pages, means of blocks, low-rank or pooled keys. A value that grows
// with the cache, O(D) for each new row.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// What KeyTable and KeyPanels share: rows of `width` keys stand together, channel by channel.
class KeyRows {
public:
    std::int64_t heads() const { return heads_; }
    std::int64_t dim() const { return dim_; }
    std::int64_t size() const { return rows_; }  ///< rows of a head
    Dtype storage() const { return storage_; }

    /// Adds rows x [heads, n, dim], rounded to the nearest of the storage type. Throws Error where sizes differ.
    void append(Heads<const float> x);
    /// Adds n rows of zeros.
    void append(std::int64_t n);
    /// Overwrites a row of a head with dim numbers.
    void set(std::int64_t head, std::int64_t row, const float* x);
    /// Reads one.
    void get(std::int64_t head, std::int64_t row, float* x) const;

protected:
    KeyRows() = default;
    /// Without rows. Throws Error on sizes below 1, in the name of the class.
    KeyRows(const char* name, std::int64_t width, std::int64_t heads, std::int64_t dim, Dtype storage);

    const std::byte* data() const { return memory_.data(); }
    std::int64_t head_stride() const { return capacity_ * dim_; }

private:
    /// Of the row's first element, in elements; the others lie width_ apart.
    std::int64_t at(std::int64_t head, std::int64_t row) const {
        return head * head_stride() + row / width_ * width_ * dim_ + row % width_;
    }

    const char* name_ = "KeyRows";
    std::int64_t width_ = 1, heads_ = 0, dim_ = 0, rows_ = 0, capacity_ = 0;
    Dtype storage_ = Dtype::f32;
    std::vector<std::byte> memory_;  ///< [heads, capacity / width, dim, width]; zeros behind the last row
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

/// A view whose keys are the values of a cache.
inline KvView values_as_keys(KvView kv) {
    kv.k = kv.v;
    return kv;
}

/// Throws Error unless the keys of a cache are those of what is kept beside it.
void check_kept_keys(const char* function, const KvView& kv, std::int64_t heads, std::int64_t dim);
/// Throws Error unless what is kept is that of a call: "quest: bounds are of 3 heads, needs 2".
void check_kept(const char* function, const char* kept, const char* what, std::int64_t got, std::int64_t expected);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/key_rows.inl>
#endif
