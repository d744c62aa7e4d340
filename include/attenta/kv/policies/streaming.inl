#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/cache.hpp>
#include <attenta/kv/policies/streaming.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds Streaming::needs(const EvictionShape& shape) {
    const char* const f = "streaming";
    eviction::check_budget(f, options_.budget, "sink", options_.sink);
    if (!is_finite(options_.rope_base) || options_.rope_base <= 0)
        fail(f, "rope_base is " + std::to_string(options_.rope_base) + ", needs a finite number above 0");
    if (!options_.reposition) return {};
    if (shape.dim % 2 != 0)
        fail(f, "keys have " + std::to_string(shape.dim) + " features, reposition needs an even number");
    dim_ = shape.dim;
    dim_v_ = shape.dim_v;
    rotary_ = eviction::Rotary(dim_, options_.rope_base);
    first_.resize(static_cast<std::size_t>(shape.kv_heads * options_.sink * (dim_ + dim_v_)));
    turned_.resize(static_cast<std::size_t>(dim_));
    return {.rows = true};
}

ATTENTA_INLINE void Streaming::arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) {
    const std::int64_t position = held.positions[static_cast<std::size_t>(slot)];
    if (position >= options_.sink) return;
    float* const to = first_.data() + (held.head * options_.sink + position) * (dim_ + dim_v_);
    std::copy_n(v, dim_v_, std::copy_n(k, dim_, to));
}

ATTENTA_INLINE void Streaming::leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) {
    if (!options_.reposition) return;
    rotary_.set(held.newest(1) + 1 - (held.size() - std::ssize(gone)));  // all tokens that are gone
    for (std::int64_t j = 0; j < options_.sink; ++j) {
        const float* const k = first_.data() + (held.head * options_.sink + j) * (dim_ + dim_v_);
        rotary_.turn(k, turned_.data());
        cache.replace(held.layer, held.head, held.slots[static_cast<std::size_t>(j)], turned_.data(), k + dim_);
    }
}

ATTENTA_END
