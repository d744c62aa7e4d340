// Feature maps [C, H, W]: channels as rows of positions, and maps with zeros around them.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_arrays.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace dense {

/// The positions of a channel as runs of numbers next to each other: one where rows follow each other without gaps.
struct MapRuns {
    std::int64_t count = 0, length = 0;
};

/// Of several maps of equal sizes.
template <class... Maps>
MapRuns runs_of(const Heads<const float>& first, const Maps&... more) {
    const auto closed = [](const auto& x) { return x.tokens == 1 || x.token_stride == x.dim; };
    if ((closed(first) && ... && closed(more))) return {1, first.tokens * first.dim};
    return {first.tokens, first.dim};
}

/// A map's channels as the rows of matrices, one for each run.
template <class T>
Matrices<T> matrices_of(const Heads<T>& x, const MapRuns& runs) {
    return {x.data, runs.count, x.heads, runs.length, x.head_stride, x.token_stride};
}

/// A map with `margin` zeros around it; rows have room for vectors that begin inside the map.
struct PaddedMap {
    static constexpr std::int64_t room = 16;

    Heads<float> inner;
    std::int64_t margin = 0;

    const float* corner(std::int64_t channel) const {
        return inner.row(channel, 0) - margin * inner.token_stride - margin;
    }
};

/// Of the sizes of `x`, only margins and room are written.
inline PaddedMap empty_padded_map(const Heads<const float>& x, std::int64_t margin,
                                  ATTENTA_ABI::detail::CallArrays& arrays, Context& context) {
    const std::int64_t stride = round_up(x.dim, PaddedMap::room) + 2 * margin, rows = x.tokens + 2 * margin;
    float* const all = arrays.take(x.heads * rows * stride);
    const PaddedMap map{{all + margin * stride + margin, x.heads, x.tokens, x.dim, rows * stride, stride}, margin};
    context.executor().parallel_for(x.heads, [&](std::int64_t c, int) {
        float* const first = all + c * rows * stride;
        std::fill_n(first, margin * stride + margin, 0.f);
        for (std::int64_t r = 0; r < x.tokens; ++r) {
            float* const end = map.inner.row(c, r) + x.dim;
            std::fill_n(end, stride - x.dim, 0.f);
        }
        std::fill_n(map.inner.row(c, x.tokens) - margin, margin * stride, 0.f);
    });
    return map;
}

inline PaddedMap padded_map(const Heads<const float>& x, std::int64_t margin, ATTENTA_ABI::detail::CallArrays& arrays,
                            Context& context) {
    const PaddedMap map = empty_padded_map(x, margin, arrays, context);
    context.executor().parallel_for(x.heads, [&](std::int64_t c, int) {
        for (std::int64_t r = 0; r < x.tokens; ++r) std::copy_n(x.row(c, r), x.dim, map.inner.row(c, r));
    });
    return map;
}

}  // namespace dense

ATTENTA_END
