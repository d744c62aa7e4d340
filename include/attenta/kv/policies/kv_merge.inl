#pragma once

#include <attenta/kv/cache.hpp>
#include <attenta/kv/policies/kv_merge.hpp>
#include <attenta/sparse/documents/maxsim.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>

ATTENTA_BEGIN

namespace detail {

/// Rows of some tokens of a head, [tokens, D] and [tokens, Dv].
struct MergeRows {
    MergeRows(const HeldTokens& held, std::span<const std::int32_t> slots, std::int64_t D, std::int64_t Dv)
        : k(slots.size() * static_cast<std::size_t>(D)),
          v(slots.size() * static_cast<std::size_t>(Dv)),
          unit(k.size()) {
        for (std::int64_t i = 0; i < std::ssize(slots); ++i) {
            float* const key = k.data() + i * D;
            held.load_key(slots[static_cast<std::size_t>(i)], key);
            held.load_value(slots[static_cast<std::size_t>(i)], v.data() + i * Dv);
            const double norm = std::max(std::sqrt(std::inner_product(key, key + D, key, 0.)), 1e-6);
            std::transform(key, key + D, unit.data() + i * D,
                           [&](float x) { return static_cast<float>(double{x} / norm); });
        }
    }
    std::vector<float> k, v, unit;  ///< unit: keys of length 1
};

/// to += weight · x
inline void add_row(float* to, float weight, const float* x, std::int64_t n) {
    for (std::int64_t c = 0; c < n; ++c) to[c] += weight * x[c];
}
/// x ← (own · x + sum) / total
inline void mix_row(float* x, float own, const float* sum, float total, std::int64_t n) {
    for (std::int64_t c = 0; c < n; ++c) x[c] = (own * x[c] + sum[c]) / total;
}

}  // namespace detail

ATTENTA_INLINE EvictionNeeds KvMerge::needs(const EvictionShape&) {
    eviction::check_window("kv_merge", options_, options_.budget);
    return {};
}

ATTENTA_INLINE void KvMerge::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                   std::span<EvictionChoice> choices) {
    if (!now.prompt) return;
    std::vector<std::int32_t> itself(static_cast<std::size_t>(now.seen));
    std::iota(itself.begin(), itself.end(), 0);
    into_.assign(heads.size(), itself);
    if (now.seen <= options_.budget) return;
    scores_.keep_best(now, heads, options_.budget, choices);
}

ATTENTA_INLINE void KvMerge::leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) {
    std::vector<std::int32_t> dropped(gone.begin(), gone.end()), kept;
    std::sort(dropped.begin(), dropped.end());  // after the prompt slots are positions
    std::set_difference(held.slots.begin(), held.slots.end(), dropped.begin(), dropped.end(), std::back_inserter(kept));
    const std::int64_t D = cache.options().dim, Dv = cache.options().dim_v;
    const detail::MergeRows from(held, dropped, D, Dv);
    detail::MergeRows to(held, kept, D, Dv);

    const std::array<std::int64_t, 2> one_document{0, std::ssize(kept)};
    std::vector<std::int64_t> target(dropped.size());
    float similarity = 0;
    maxsim({{from.unit.data(), 1, std::ssize(dropped), D}, {to.unit.data(), 1, std::ssize(kept), D}, one_document},
           {&similarity, target.data()});

    const bool pivot = options_.merge == KvMergeRule::pivot;
    std::vector<float> weights(kept.size()), k(to.k.size()), v(to.v.size());  // sums of what goes into a kept token
    for (std::int64_t d = 0; d < std::ssize(dropped); ++d) {
        const std::int64_t r = target[static_cast<std::size_t>(d)];
        const float *const a = from.unit.data() + d * D, *const b = to.unit.data() + r * D;
        const float weight = pivot ? 0.5f : std::max((std::inner_product(a, a + D, b, 0.f) + 1) / 2, 1e-6f);
        weights[static_cast<std::size_t>(r)] += weight;
        detail::add_row(k.data() + r * D, weight, from.k.data() + d * D, D);
        detail::add_row(v.data() + r * Dv, weight, from.v.data() + d * Dv, Dv);
        into_[static_cast<std::size_t>(held.head)][static_cast<std::size_t>(dropped[static_cast<std::size_t>(d)])] =
            kept[static_cast<std::size_t>(r)];
    }
    for (std::int64_t r = 0; r < std::ssize(kept); ++r) {
        const float weight = weights[static_cast<std::size_t>(r)], own = pivot ? 1 + weight : 1;
        if (weight == 0) continue;
        detail::mix_row(to.k.data() + r * D, own, k.data() + r * D, own + weight, D);
        detail::mix_row(to.v.data() + r * Dv, own, v.data() + r * Dv, own + weight, Dv);
        cache.replace(held.layer, held.head, kept[static_cast<std::size_t>(r)], to.k.data() + r * D,
                      to.v.data() + r * Dv);
    }
}

ATTENTA_END
