// Keys of a cache as floats, for products that are none of the loops'.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/row_codes.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// [heads, keys, dim] of sequence 0: where they lie, or else a copy in `memory`.
inline Heads<const float> keys_as_floats(const KvView& kv, std::vector<float>& memory) {
    const std::int64_t keys = kv.length(0), dim = kv.k.dim;
    if (kv.k.dtype == Dtype::f32 && kv.page_size == 0 && !kv.starts)
        return {static_cast<const float*>(kv.k.data), kv.heads, keys, dim, kv.k.head_stride, kv.k.token_stride};
    memory.resize(static_cast<std::size_t>(kv.heads * keys * dim));
    for (std::int64_t j = 0; j < keys; ++j) {
        const std::byte *k, *v;
        kv.locate(0, j, 1, &k, &v);
        for (std::int64_t h = 0; h < kv.heads; ++h)
            load_row(k + kv.k.head_bytes(h), dim, kv.k.dtype, kv.k.codes, memory.data() + (h * keys + j) * dim);
    }
    return hnd(static_cast<const float*>(memory.data()), kv.heads, keys, dim);
}

}  // namespace detail

ATTENTA_END
