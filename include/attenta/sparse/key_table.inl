#pragma once

#include <attenta/core/error.hpp>
#include <attenta/sparse/key_table.hpp>

#include <algorithm>
#include <cstring>
#include <string>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void read_key(const KvView& kv, std::int64_t head, std::int64_t token, float* x) {
    const std::byte *k = nullptr, *v = nullptr;
    kv.locate(0, token, 1, &k, &v);
    with_elements(kv.k.dtype, [&]<class T>(const T*) {
        const T* const row = reinterpret_cast<const T*>(k + kv.k.head_bytes(head));
        for (std::int64_t c = 0; c < kv.k.dim; ++c) x[c] = static_cast<float>(row[c]);
    });
}

}  // namespace detail

ATTENTA_INLINE KeyTable::KeyTable(std::int64_t heads, std::int64_t dim, Dtype storage)
    : heads_(heads), dim_(dim), storage_(storage) {
    if (heads < 1 || dim < 1)
        fail("KeyTable",
             std::to_string(heads) + " heads of " + std::to_string(dim) + " features, needs at least 1 each");
    if (!is_dtype(storage)) fail("KeyTable", "storage is no Dtype, needs f32, bf16 or f16");
}

ATTENTA_INLINE std::byte* KeyTable::at(std::int64_t head, std::int64_t row) const {
    return const_cast<std::byte*>(memory_.data()) + (head * capacity_ + row) * dim_ * size_of(storage_);
}

ATTENTA_INLINE void KeyTable::append(std::int64_t n) {
    if (rows_ + n > capacity_) {
        KeyTable grown(heads_, dim_, storage_);
        grown.capacity_ = std::max(rows_ + n, 2 * capacity_);
        grown.memory_.resize(static_cast<std::size_t>(heads_ * grown.capacity_ * dim_ * size_of(storage_)));
        for (std::int64_t h = 0; h < heads_ && rows_ > 0; ++h)
            std::memcpy(grown.at(h, 0), at(h, 0), static_cast<std::size_t>(rows_ * dim_ * size_of(storage_)));
        grown.rows_ = rows_;
        *this = std::move(grown);
    }
    for (std::int64_t h = 0; h < heads_; ++h)
        std::memset(at(h, rows_), 0, static_cast<std::size_t>(n * dim_ * size_of(storage_)));
    rows_ += n;
}

ATTENTA_INLINE void KeyTable::append(Heads<const float> x) {
    if (x.heads != heads_ || x.dim != dim_)
        fail("KeyTable::append", "rows have " + std::to_string(x.heads) + " heads of " + std::to_string(x.dim) +
                                     " features, needs " + std::to_string(heads_) + " of " + std::to_string(dim_));
    const std::int64_t first = rows_;
    append(x.tokens);
    for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) set(h, first + t, x.row(h, t));
}

ATTENTA_INLINE void KeyTable::set(std::int64_t head, std::int64_t row, const float* x) {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        T* const to = reinterpret_cast<T*>(at(head, row));
        for (std::int64_t c = 0; c < dim_; ++c) to[c] = static_cast<T>(x[c]);
    });
}

ATTENTA_INLINE void KeyTable::get(std::int64_t head, std::int64_t row, float* x) const {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        const T* const from = reinterpret_cast<const T*>(at(head, row));
        for (std::int64_t c = 0; c < dim_; ++c) x[c] = static_cast<float>(from[c]);
    });
}

ATTENTA_INLINE KvView KeyTable::view() const {
    KvView kv;
    kv.k = kv.v = {memory_.data(), storage_, dim_, capacity_ * dim_, dim_, 0, 0};
    kv.heads = heads_;
    kv.tokens = rows_;
    return kv;
}

ATTENTA_END
