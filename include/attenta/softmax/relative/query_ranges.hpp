// A call whose queries go in ranges, so that what each query brings for all distances stays in cache.
#pragma once

#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/mask/mask.hpp>
#include <attenta/softmax/common.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Masks of a call for a range of its queries, the first of which is query 0 of the range.
struct MasksOfQueries {
    MaskSet masks;
    int first;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const { masks.bits(of(r), keys, words); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        return masks.classify(of(a), of(b), keys);
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const { return masks.hull(of(a), of(b)); }

private:
    QueryRow of(QueryRow r) const {
        r.index += first;
        return r;
    }
};

/// attend(part, begin) for calls of at most `range` queries each, from query `begin` on; `lse` is memory for their rows.
template <class F>
void for_query_ranges(const SoftmaxCall& whole, std::int64_t range, std::vector<float>& lse, F&& attend) {
    const attention::Request& r = whole.request;
    const std::int64_t queries = r.q.tokens, heads = r.q.heads, first = whole.first_position();
    if (range >= queries) {
        SoftmaxCall part = whole;
        return attend(part, std::int64_t{0});
    }
    lse.resize(static_cast<std::size_t>(heads * range));
    for (std::int64_t begin = 0; begin < queries; begin += range) {
        const std::int64_t n = std::min(range, queries - begin);
        SoftmaxCall part = whole;
        part.request.q = r.q.slice(begin, n);
        part.request.q_offset = first + begin;
        part.request.masks.clear();
        if (!r.masks.empty())
            part.request.masks.push_back(
                MasksOfQueries{{r.masks.data(), static_cast<std::int64_t>(r.masks.size())}, static_cast<int>(begin)});
        part.out.o = whole.out.o.slice(begin, n);
        if (whole.out.lse) part.out.lse = lse.data();
        attend(part, begin);
        for (std::int64_t h = 0; whole.out.lse && h < heads; ++h)
            std::copy_n(lse.data() + h * n, n, whole.out.lse + h * queries + begin);
    }
}

}  // namespace detail

ATTENTA_END
