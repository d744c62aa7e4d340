#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/cache.hpp>

#include <algorithm>
#include <string>

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

}  // namespace detail

ATTENTA_INLINE KvCache::KvCache(const CacheOptions& options) : options_(options) {
    CacheOptions& c = options_;
    if (c.dim_v == 0) c.dim_v = c.dim;
    const auto need = [](const char* what, std::int64_t n) {
        if (n < 1) fail("KvCache", std::string(what) + " is " + std::to_string(n) + ", needs at least 1");
    };
    need("layers", c.layers);
    need("kv_heads", c.kv_heads);
    need("dim", c.dim);
    need("dim_v", c.dim_v);
    need("capacity", c.capacity);
    memory_.reserve(
        static_cast<std::size_t>(c.layers * c.kv_heads * c.capacity * (c.dim + c.dim_v) * size_of(c.storage)));
    lengths_.assign(static_cast<std::size_t>(c.layers), 0);
}

/// Memory is [layer, k then v, head, token, dim].
ATTENTA_INLINE std::byte* KvCache::row(int layer, bool value, std::int64_t head, std::int64_t token) const {
    const CacheOptions& c = options_;
    const std::int64_t per_layer = c.kv_heads * c.capacity * (c.dim + c.dim_v);
    const std::int64_t at = value ? c.kv_heads * c.capacity * c.dim + (head * c.capacity + token) * c.dim_v
                                  : (head * c.capacity + token) * c.dim;
    return memory_.data() + (layer * per_layer + at) * size_of(c.storage);
}

ATTENTA_INLINE void KvCache::append(int layer, Heads<const float> k, Heads<const float> v) {
    const CacheOptions& c = options_;
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (layer < 0 || layer >= c.layers)
        fail("KvCache::append", "layer is " + text(layer) + ", needs 0 to " + text(c.layers - 1));
    const auto check = [&](const char* name, const Heads<const float>& x, std::int64_t dim) {
        if (x.heads != c.kv_heads || x.dim != dim || x.tokens != k.tokens || x.tokens < 0)
            fail("KvCache::append", std::string(name) + " is [" + text(x.heads) + ", " + text(x.tokens) + ", " +
                                        text(x.dim) + "], needs [" + text(c.kv_heads) + ", " + text(k.tokens) + ", " +
                                        text(dim) + "]");
    };
    check("k", k, c.dim);
    check("v", v, c.dim_v);
    std::int64_t& length = lengths_[static_cast<std::size_t>(layer)];
    if (length + k.tokens > c.capacity)
        fail("KvCache::append", "layer " + text(layer) + " would hold " + text(length + k.tokens) +
                                    " tokens, capacity is " + text(c.capacity));
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
    if (layer < 0 || layer >= c.layers)
        fail("KvCache::view", "layer is " + std::to_string(layer) + ", needs 0 to " + std::to_string(c.layers - 1));
    KvView r;
    r.k = {row(layer, false, 0, 0), c.storage, c.dim, c.capacity * c.dim, c.dim, 0, 0};
    r.v = {row(layer, true, 0, 0), c.storage, c.dim_v, c.capacity * c.dim_v, c.dim_v, 0, 0};
    r.heads = c.kv_heads;
    r.tokens = size(layer);
    return r;
}

ATTENTA_END
