#pragma once

#include <attenta/kv/policies/keydiff.hpp>

#include <algorithm>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds Keydiff::needs(const EvictionShape& shape) {
    eviction::check_budget("keydiff", options_.budget, "recent", options_.recent);
    shape_ = shape;
    sums_.assign(static_cast<std::size_t>(shape.kv_heads * shape.dim), 0.0);
    key_.resize(static_cast<std::size_t>(shape.dim));
    return {.columns = 1, .rows = true};
}

/// Adds or takes away a held key, as it is stored, so that what came is what goes.
ATTENTA_INLINE void Keydiff::add(const HeldTokens& held, std::int64_t slot, double sign) {
    held.load_key(slot, key_.data());
    const float norm = std::max(eviction::norm(key_.data(), shape_.dim), 1e-12f);
    held.column(0)[slot] = norm;
    double* const sums = sums_.data() + held.head * shape_.dim;
    for (std::int64_t c = 0; c < shape_.dim; ++c)
        sums[c] += sign * double{key_[static_cast<std::size_t>(c)]} / double{norm};
}

ATTENTA_INLINE void Keydiff::arrive(const HeldTokens& held, std::int64_t slot, const float*, const float*) {
    add(held, slot, 1);
}

ATTENTA_INLINE void Keydiff::leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache&) {
    for (const std::int32_t slot : gone) add(held, slot, -1);
}

ATTENTA_INLINE void Keydiff::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                   std::span<EvictionChoice> choices) {
    const std::int64_t n = eviction::most_held(heads);
    if (n <= options_.budget) return;
    anchors_.assign(sums_.begin(), sums_.end());
    scores_.resize(static_cast<std::size_t>(shape_.kv_heads * n));
    now.attention->products(hnd<const float>(anchors_.data(), shape_.kv_heads, 1, shape_.dim),
                            [&](std::int64_t head, std::int64_t, std::span<const float> products) {
                                // The length of the anchor changes no order.
                                const float* const norms = heads[static_cast<std::size_t>(head)].column(0);
                                float* const scores = scores_.data() + head * n;
                                for (std::size_t i = 0; i < products.size(); ++i) scores[i] = -products[i] / norms[i];
                            });
    for (const HeldTokens& held : heads)
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = scores_.data() + held.head * n, .keep = options_.budget, .recent = options_.recent};
}

ATTENTA_END
