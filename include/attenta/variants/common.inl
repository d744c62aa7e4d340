#pragma once

#include <attenta/engine/attention/positions.hpp>
#include <attenta/variants/common.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void check_causal(const char* f, const VisibleKeys& visibility, std::int64_t queries,
                                 std::int64_t keys) {
    if (visibility.causal && !visibility.q_offset && queries > keys)
        fail(f, "q has " + checks::text(queries) + " tokens, k has " + checks::text(keys) +
                    ", a causal call needs at least as many");
}

ATTENTA_INLINE attention::Request without_products(attention::Request r) {
    if (r.kv.k.dtype == Dtype::codes || r.kv.tied > 0) return r;  // their channels come together
    r.kv.k.dim = r.q.dim = 1;
    r.scale = 1;
    return r;
}

ATTENTA_INLINE void count_visible(const SoftmaxCall& call, bool intervals, std::vector<RowStatistics>& counts) {
    const attention::Request& r = call.request;
    const std::int64_t heads = r.q.heads, queries = r.q.tokens, keys = call.keys();
    counts.resize(static_cast<std::size_t>(heads * queries));
    if ((intervals || r.masks.empty()) && !r.kv.positions && !r.kv.differs_by_head()) {
        const MaskSet masks{r.masks.data(), static_cast<std::int64_t>(r.masks.size())};
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t i = 0; i < queries; ++i) {
                const QueryRow row{static_cast<int>(h), i, call.first_position() + i, 0};
                const Interval seen = intersect(masks.hull(row, row), {0, keys});
                counts[static_cast<std::size_t>(h * queries + i)] = {0, static_cast<float>(seen.end - seen.begin)};
            }
        return;
    }
    attention::Request ones = without_products(r);
    ones.edits.clear();
    ones.edits.push_back(edit(edits::Ones{}));
    ones.local_weights = true;
    ones.values = false;
    attention::plan(ones, *call.context).run(ones.q, ones.kv, {}, nullptr, {.found = counts.data()});
}

}  // namespace detail

ATTENTA_END
