// Keys and values of a cache as floats, for products that are none of the loops'.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/row_codes.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// [heads, tokens, dim] of a side of sequence 0: where it lies, or else a copy in `memory`.
inline Heads<const float> side_as_floats(const KvView& kv, const KvView::Rows& side, bool is_value,
                                         std::vector<float>& memory) {
    const std::int64_t tokens = kv.length(0), dim = side.dim;
    if (side.dtype == Dtype::f32 && kv.page_size == 0 && !kv.starts)
        return {static_cast<const float*>(side.data), kv.heads, tokens, dim, side.head_stride, side.token_stride};
    memory.resize(static_cast<std::size_t>(kv.heads * tokens * dim));
    for (std::int64_t j = 0; j < tokens; ++j) {
        const std::byte *k, *v;
        kv.locate(0, j, 1, &k, &v);
        for (std::int64_t h = 0; h < kv.heads; ++h)
            load_row((is_value ? v : k) + side.head_bytes(h), dim, side.dtype, side.codes,
                     memory.data() + (h * tokens + j) * dim);
    }
    return hnd(static_cast<const float*>(memory.data()), kv.heads, tokens, dim);
}
inline Heads<const float> keys_as_floats(const KvView& kv, std::vector<float>& memory) {
    return side_as_floats(kv, kv.k, false, memory);
}
inline Heads<const float> values_as_floats(const KvView& kv, std::vector<float>& memory) {
    return side_as_floats(kv, kv.v, true, memory);
}

}  // namespace detail

ATTENTA_END
