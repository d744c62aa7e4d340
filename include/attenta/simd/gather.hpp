// Loads from a table, a place of its own for each lane.
#pragma once

#include <attenta/simd/vector.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace simd {

/// table[index[lane]]
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> gather(const float* table, IntBatch<Arch> index) {
#if defined(ATTENTA_AVX512)
    return _mm512_i32gather_ps(index, table, 4);
#elif defined(ATTENTA_AVX2)
    return _mm256_i32gather_ps(table, index, 4);
#else
    std::int32_t at[static_cast<std::size_t>(lanes<Arch>)];
    float found[static_cast<std::size_t>(lanes<Arch>)];
    index.store_unaligned(at);
    for (std::size_t i = 0; i < static_cast<std::size_t>(lanes<Arch>); ++i) found[i] = table[at[i]];
    return load<Arch>(found);
#endif
}

}  // namespace simd

ATTENTA_END
