// Masks from masks: a && b, a || b.
#pragma once

#include <attenta/engine/mask/mask.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

template <class A, class B>
struct MaskAnd {
    A a;
    B b;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        detail::mask_bits(a, r, keys, words);
        detail::mask_bits(b, r, keys, words);
    }
    Cover classify(const QueryRow& f, const QueryRow& l, const KeyBlock& keys) const {
        const Cover x = detail::mask_cover(a, f, l, keys);
        return x == Cover::none ? x : std::min(x, detail::mask_cover(b, f, l, keys));
    }
    Interval hull(const QueryRow& f, const QueryRow& l) const {
        return intersect(detail::mask_hull(a, f, l), detail::mask_hull(b, f, l));
    }
};

template <class A, class B>
struct MaskOr {
    A a;
    B b;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        for (std::int64_t i = 0; i < keys.count; i += 64) {
            const KeyBlock part = keys.slice(i, std::min<std::int64_t>(64, keys.count - i));
            std::uint64_t x = ~std::uint64_t{0}, y = x;
            detail::mask_bits(a, r, part, &x);
            detail::mask_bits(b, r, part, &y);
            words[i / 64] &= x | y;
        }
    }
    Cover classify(const QueryRow& f, const QueryRow& l, const KeyBlock& keys) const {
        return std::max(detail::mask_cover(a, f, l, keys), detail::mask_cover(b, f, l, keys));
    }
    Interval hull(const QueryRow& f, const QueryRow& l) const {
        return ATTENTA_ABI::hull(detail::mask_hull(a, f, l), detail::mask_hull(b, f, l));
    }
};

template <class M>
concept MaskLike = std::is_trivially_copyable_v<M> &&
    (detail::SpanMask<M> || requires(const M m, QueryRow r, KeyBlock k, std::uint64_t* w) { m.bits(r, k, w); });

template <MaskLike A, MaskLike B>
MaskAnd<A, B> operator&&(const A& a, const B& b) {
    return {a, b};
}
template <MaskLike A, MaskLike B>
MaskOr<A, B> operator||(const A& a, const B& b) {
    return {a, b};
}

ATTENTA_END
