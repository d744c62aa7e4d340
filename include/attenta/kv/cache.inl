#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/cache.hpp>

#include <algorithm>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void store_row(const float* x, std::int64_t n, Dtype type, std::byte* to) {
    switch (type) {
        case Dtype::f32:
            std::copy_n(x, n, reinterpret_cast<float*>(to));
            break;
        case Dtype::bf16:
            std::transform(x, x + n, reinterpret_cast<bfloat16*>(to), [](float v) { return bfloat16(v); });
            break;
        case Dtype::f16:
            std::transform(x, x + n, reinterpret_cast<float16*>(to), [](float v) { return float16(v); });
            break;
    }
}

/// The first finite number beyond the largest of the type, or null. Whole rows are judged at once: few have one.
inline const float* find_beyond(const float* x, std::int64_t n, Dtype type) {
    const std::uint32_t most = magnitude_bits(largest(type)), infinite = 0x7f800000u;
    const auto beyond = [=](float v) { return magnitude_bits(v) - most - 1u < infinite - most - 1u; };
    std::uint32_t any = 0;
    for (std::int64_t i = 0; i < n; ++i) any |= beyond(x[i]) ? 1u : 0u;
    return any ? std::find_if(x, x + n, beyond) : nullptr;
}

}  // namespace detail

ATTENTA_INLINE KvCache::KvCache(const CacheOptions& options) : options_(options) {
    CacheOptions& c = options_;
    if (c.dim_v == 0) c.dim_v = c.dim;
    const std::pair<const char*, std::int64_t> sizes[] = {
        {"layers", c.layers}, {"kv_heads", c.kv_heads}, {"dim", c.dim}, {"dim_v", c.dim_v}, {"capacity", c.capacity}};
    std::string all;
    for (const auto& [name, n] : sizes) {
        if (n < 1) fail("KvCache", std::string(name) + " is " + std::to_string(n) + ", needs at least 1");
        all += std::string(all.empty() ? "" : ", ") + name + " " + std::to_string(n);
    }
    if (!is_dtype(c.storage)) fail("KvCache", "storage is no Dtype, needs f32, bf16 or f16");
    const CheckedInt bytes =
        CheckedInt(c.layers) * c.kv_heads * c.capacity * (CheckedInt(c.dim) + c.dim_v) * size_of(c.storage);
    if (!bytes.valid()) fail("KvCache", all + " need more bytes than 64 bits can count");
    memory_.reserve(static_cast<std::size_t>(bytes.value()));
    lengths_.assign(static_cast<std::size_t>(c.layers), 0);
}

ATTENTA_INLINE void KvCache::check_layer(const char* function, int layer) const {
    if (layer < 0 || layer >= options_.layers)
        fail(function, "layer is " + std::to_string(layer) + ", needs 0 to " + std::to_string(options_.layers - 1));
}

ATTENTA_INLINE std::int64_t KvCache::size(int layer) const {
    check_layer("KvCache::size", layer);
    return lengths_[static_cast<std::size_t>(layer)];
}

/// Memory is [layer, k then v, head, token, dim].
ATTENTA_INLINE std::byte* KvCache::row(int layer, bool value, std::int64_t head, std::int64_t token) const {
    const CacheOptions& c = options_;
    const std::int64_t per_layer = c.kv_heads * c.capacity * (c.dim + c.dim_v);
    const std::int64_t at = value ? c.kv_heads * c.capacity * c.dim + (head * c.capacity + token) * c.dim_v
                                  : (head * c.capacity + token) * c.dim;
    return memory_.data() + (layer * per_layer + at) * size_of(c.storage);
}

ATTENTA_INLINE void KvCache::check_appended(int layer, Heads<const float> k, Heads<const float> v) const {
    const CacheOptions& c = options_;
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    const std::int64_t held = size(layer);
    const auto check_shape = [&](const char* what, const Heads<const float>& x, std::int64_t dim) {
        if (x.heads != c.kv_heads || x.dim != dim || x.tokens != k.tokens || x.tokens < 0)
            fail("KvCache::append", std::string(what) + " is [" + text(x.heads) + ", " + text(x.tokens) + ", " +
                                        text(x.dim) + "], needs [" + text(c.kv_heads) + ", " + text(k.tokens) + ", " +
                                        text(dim) + "]");
        if (x.tokens > c.capacity - held)
            fail("KvCache::append", std::string(what) + " has " + text(x.tokens) + " tokens, layer " + text(layer) +
                                        " holds " + text(held) + " and has a capacity of " + text(c.capacity));
        if (x.tokens > 0 && !x.data) fail("KvCache::append", std::string(what) + " is null, has elements to hold");
        const CheckedInt end = CheckedInt(x.heads - 1) * x.head_stride + CheckedInt(x.tokens) * x.token_stride + dim;
        if (x.head_stride < 0 || x.token_stride < 0 || !(end * sizeof(float)).valid())
            fail("KvCache::append", std::string(what) + " has strides " + text(x.head_stride) + " and " +
                                        text(x.token_stride) + ", needs at least 0 and rows that memory can hold");
    };
    check_shape("k", k, c.dim);
    check_shape("v", v, c.dim_v);
    const auto check_numbers = [&](const char* what, const Heads<const float>& x) {
        for (std::int64_t h = 0; h < x.heads; ++h)
            for (std::int64_t t = 0; t < x.tokens; ++t)
                if (const float* at = detail::find_beyond(x.row(h, t), x.dim, c.storage))
                    fail("KvCache::append", std::string(what) + " of layer " + text(layer) + ", head " + text(h) +
                                                ", token " + text(t) + " is " + std::to_string(*at) + ", " +
                                                name(c.storage) + " ends at " + std::to_string(largest(c.storage)));
    };
    if (c.storage == Dtype::f32) return;
    check_numbers("k", k);
    check_numbers("v", v);
}

ATTENTA_INLINE void KvCache::append(int layer, Heads<const float> k, Heads<const float> v) {
    const CacheOptions& c = options_;
    check_layer("KvCache::append", layer);
    check_appended(layer, k, v);
    std::int64_t& length = lengths_[static_cast<std::size_t>(layer)];
    for (std::int64_t h = 0; h < c.kv_heads; ++h)
        for (std::int64_t t = 0; t < k.tokens; ++t) {
            detail::store_row(k.row(h, t), c.dim, c.storage, row(layer, false, h, length + t));
            detail::store_row(v.row(h, t), c.dim_v, c.storage, row(layer, true, h, length + t));
        }
    length += k.tokens;
}

ATTENTA_INLINE void KvCache::truncate(std::int64_t tokens) {
    if (tokens < 0) fail("KvCache::truncate", "tokens is " + std::to_string(tokens) + ", needs at least 0");
    for (std::int64_t& n : lengths_) n = std::min(n, tokens);
}

ATTENTA_INLINE KvView KvCache::view(int layer) const {
    const CacheOptions& c = options_;
    check_layer("KvCache::view", layer);
    KvView r;
    r.k = {row(layer, false, 0, 0), c.storage, c.dim, c.capacity * c.dim, c.dim, 0, 0};
    r.v = {row(layer, true, 0, 0), c.storage, c.dim_v, c.capacity * c.dim_v, c.dim_v, 0, 0};
    r.heads = c.kv_heads;
    r.tokens = size(layer);
    return r;
}

ATTENTA_END
