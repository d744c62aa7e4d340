// Attention whose query heads have keys of their own, while groups of them share values.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/mask/mask.hpp>
#include <attenta/softmax/common.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Masks of a call for a part of its heads, the first of which is head 0 of the part.
struct MasksOfHeads {
    MaskSet masks;
    int first;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const { masks.bits(of(r), keys, words); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        return masks.classify(of(a), of(b), keys);
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const { return masks.hull(of(a), of(b)); }

private:
    QueryRow of(QueryRow r) const {
        r.head += first;
        return r;
    }
};

/// `count` heads from `first` on.
template <class T>
Heads<T> some_heads(Heads<T> x, std::int64_t first, std::int64_t count) {
    x.data += first * x.head_stride;
    x.heads = count;
    return x;
}

/// A checked call of queries [Hq, Tq, D] with keys [Hq, Tk, D] and values [Hkv, Tk, Dv]: a group at a time, whose heads read the
/// same values.
inline void attend_with_own_keys(const SoftmaxCall& whole, const Heads<const float>& k, const Heads<const float>& v) {
    SoftmaxCall call = whole;
    if (k.heads == v.heads) {
        call.request.kv = KvView::of(k, v);
        return call.run();
    }
    const attention::Request& r = whole.request;
    const std::int64_t group = k.heads / v.heads;
    for (std::int64_t h = 0; h < k.heads; h += group) {
        Heads<const float> values = some_heads(v, h / group, group);
        values.head_stride = 0;
        call.request.q = some_heads(r.q, h, group);
        call.request.kv = KvView::of(some_heads(k, h, group), values);
        call.request.masks.clear();
        if (!r.masks.empty())
            call.request.masks.push_back(
                MasksOfHeads{{r.masks.data(), static_cast<std::int64_t>(r.masks.size())}, static_cast<int>(h)});
        call.out = {some_heads(whole.out.o, h, group), whole.out.lse ? whole.out.lse + h * r.q.tokens : nullptr};
        call.run();
    }
}

}  // namespace detail

ATTENTA_END
