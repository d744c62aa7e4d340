#pragma once

#include <attenta/core/error.hpp>
#include <attenta/sparse/key_panels.hpp>
#include <attenta/sparse/key_table.hpp>

#include <algorithm>
#include <cstring>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE KeyPanels::KeyPanels(std::int64_t heads, std::int64_t dim, Dtype storage)
    : heads_(heads), dim_(dim), storage_(storage) {
    if (heads < 1 || dim < 1)
        fail("KeyPanels",
             std::to_string(heads) + " heads of " + std::to_string(dim) + " features, needs at least 1 each");
    if (!is_dtype(storage)) fail("KeyPanels", "storage is no Dtype, needs f32, bf16 or f16");
}

/// In elements; channel c of a key lies 16 c elements further on.
ATTENTA_INLINE std::int64_t KeyPanels::at(std::int64_t head, std::int64_t key) const {
    constexpr std::int64_t width = select::Panels::width;
    return (head * capacity_ + key / width * width) * dim_ + key % width;
}

ATTENTA_INLINE void KeyPanels::append(std::int64_t n) {
    constexpr std::int64_t width = select::Panels::width;
    const std::int64_t size = size_of(storage_);
    if (keys_ + n > capacity_) {
        KeyPanels grown(heads_, dim_, storage_);
        grown.capacity_ = (std::max(keys_ + n, 2 * capacity_) + width - 1) / width * width;
        grown.memory_.resize(static_cast<std::size_t>(heads_ * grown.capacity_ * dim_ * size));
        for (std::int64_t h = 0; h < heads_ && keys_ > 0; ++h)
            std::memcpy(grown.memory_.data() + grown.at(h, 0) * size, memory_.data() + at(h, 0) * size,
                        static_cast<std::size_t>((keys_ + width - 1) / width * width * dim_ * size));
        grown.keys_ = keys_;
        *this = std::move(grown);
    }
    keys_ += n;
}

ATTENTA_INLINE void KeyPanels::append(Heads<const float> x) {
    if (x.heads != heads_ || x.dim != dim_)
        fail("KeyPanels::append", "keys have " + std::to_string(x.heads) + " heads of " + std::to_string(x.dim) +
                                      " features, needs " + std::to_string(heads_) + " of " + std::to_string(dim_));
    const std::int64_t first = keys_;
    append(x.tokens);
    for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) set(h, first + t, x.row(h, t));
}

ATTENTA_INLINE void KeyPanels::set(std::int64_t head, std::int64_t key, const float* x) {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        T* const to = reinterpret_cast<T*>(memory_.data()) + at(head, key);
        for (std::int64_t c = 0; c < dim_; ++c) to[c * select::Panels::width] = static_cast<T>(x[c]);
    });
}

ATTENTA_INLINE void KeyPanels::get(std::int64_t head, std::int64_t key, float* x) const {
    detail::with_elements(storage_, [&]<class T>(const T*) {
        const T* const from = reinterpret_cast<const T*>(memory_.data()) + at(head, key);
        for (std::int64_t c = 0; c < dim_; ++c) x[c] = static_cast<float>(from[c * select::Panels::width]);
    });
}

ATTENTA_INLINE void KeyPanels::clear() {
    keys_ = 0;
    std::fill(memory_.begin(), memory_.end(), std::byte{0});
}

ATTENTA_INLINE select::Panels KeyPanels::view() const {
    return {memory_.data(), storage_, heads_, keys_, dim_, capacity_ * dim_};
}

ATTENTA_END
