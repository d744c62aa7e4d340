#pragma once

#include <attenta/core/error.hpp>
#include <attenta/sparse/key_rows.hpp>

#include <algorithm>
#include <cstring>
#include <string>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void read_key(const KvView& kv, std::int64_t head, std::int64_t token, float* x) {
    const std::byte *k = nullptr, *v = nullptr;
    kv.locate(0, token, 1, &k, &v);
    load_row(k + kv.k.head_bytes(head), kv.k.dim, kv.k.dtype, kv.k.codes, x);
}

ATTENTA_INLINE void check_kept_keys(const char* f, const KvView& kv, std::int64_t heads, std::int64_t dim) {
    if (kv.heads != heads || kv.k.dim != dim)
        fail(f, "keys have " + std::to_string(kv.heads) + " heads of " + std::to_string(kv.k.dim) +
                    " features, needs " + std::to_string(heads) + " of " + std::to_string(dim));
}

ATTENTA_INLINE void check_kept(const char* f, const char* kept, const char* what, std::int64_t got,
                               std::int64_t expected) {
    if (got != expected)
        fail(f,
             std::string(kept) + " are of " + std::to_string(got) + " " + what + ", needs " + std::to_string(expected));
}

}  // namespace detail

ATTENTA_INLINE KeyRows::KeyRows(const char* name, std::int64_t width, std::int64_t heads, std::int64_t dim,
                                Dtype storage)
    : name_(name), width_(width), heads_(heads), dim_(dim), storage_(storage) {
    if (heads < 1 || dim < 1)
        fail(name, std::to_string(heads) + " heads of " + std::to_string(dim) + " features, needs at least 1 each");
    if (!is_dtype(storage)) fail(name, "storage is no Dtype, needs f32, bf16 or f16");
}

ATTENTA_INLINE void KeyRows::append(std::int64_t n) {
    if (rows_ + n > capacity_) {
        const std::int64_t capacity = (std::max(rows_ + n, 2 * capacity_) + width_ - 1) / width_ * width_;
        const auto bytes = [this](std::int64_t rows) {
            return static_cast<std::size_t>(rows * dim_ * size_of(storage_));
        };
        std::vector<std::byte> grown(bytes(heads_ * capacity));
        for (std::int64_t h = 0; h < heads_ && rows_ > 0; ++h)
            std::memcpy(grown.data() + bytes(h * capacity), memory_.data() + bytes(h * capacity_), bytes(capacity_));
        memory_ = std::move(grown);
        capacity_ = capacity;
    }
    rows_ += n;
}

ATTENTA_INLINE void KeyRows::append(Heads<const float> x) {
    if (x.heads != heads_ || x.dim != dim_)
        fail((std::string(name_) + "::append").c_str(), "rows have " + std::to_string(x.heads) + " heads of " +
                                                            std::to_string(x.dim) + " features, needs " +
                                                            std::to_string(heads_) + " of " + std::to_string(dim_));
    const std::int64_t first = rows_;
    append(x.tokens);
    for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) set(h, first + t, x.row(h, t));
}

ATTENTA_INLINE void KeyRows::set(std::int64_t head, std::int64_t row, const float* x) {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        T* const to = reinterpret_cast<T*>(memory_.data()) + at(head, row);
        for (std::int64_t c = 0; c < dim_; ++c) to[c * width_] = static_cast<T>(x[c]);
    });
}

ATTENTA_INLINE void KeyRows::get(std::int64_t head, std::int64_t row, float* x) const {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        const T* const from = reinterpret_cast<const T*>(memory_.data()) + at(head, row);
        for (std::int64_t c = 0; c < dim_; ++c) x[c] = static_cast<float>(from[c * width_]);
    });
}

ATTENTA_END
