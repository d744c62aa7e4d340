// K and V of a block of tokens, gathered from wherever their rows lie, widened to float and laid out for the register
// tile.
#pragma once

#include <attenta/simd/transpose.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace simd {

/// Calls f(const T*) with T the element type.
template <class F>
ATTENTA_ALWAYS_INLINE void with_type(Dtype t, F&& f) {
    switch (t) {
        case Dtype::f32:
            return f(static_cast<const float*>(nullptr));
        case Dtype::bf16:
            return f(static_cast<const bfloat16*>(nullptr));
        case Dtype::f16:
            return f(static_cast<const float16*>(nullptr));
        case Dtype::codes:
            return;  // widened by simd/codes.hpp
    }
}

/// Query rows side by side: packed[c · Stride + r] from row r, times `factor`. Writes up to `lanes` floats past the end.
template <class Arch, int Rows, int Stride = Rows>
void pack_queries(const float* const* rows, std::int64_t dim, float factor, float* packed) {
    constexpr int L = static_cast<int>(lanes<Arch>), groups = (Rows + L - 1) / L;
    for (std::int64_t c = 0; c < dim; c += L) {
        const std::int64_t channels = std::min<std::int64_t>(L, dim - c);
        Batch<Arch> block[groups][static_cast<std::size_t>(L)];
        unrolled<groups>([&](auto g) ATTENTA_FLATTEN {
            unrolled<L>([&](auto i) ATTENTA_FLATTEN {
                const float* row = rows[std::min(g * L + i, Rows - 1)] + c;
                block[g][i] = (channels == L ? load<Arch>(row) : load_part<Arch>(row, channels)) * Batch<Arch>(factor);
            });
            transpose<Arch>(block[g]);
        });
        // Lanes behind the last row are overwritten by the next channel.
        unrolled<L>([&](auto i) ATTENTA_FLATTEN {
            if (i < channels)
                unrolled<groups>(
                    [&](auto g) ATTENTA_FLATTEN { block[g][i].store_unaligned(packed + (c + i) * Stride + g * L); });
        });
    }
}

/// Panels of `Vectors` vectors of keys: packed[panel][c][key], zero where keys end. `rows[i] + offset` is key i's row.
template <class Arch, int Vectors, class T>
void pack_keys(const std::byte* const* rows, std::int64_t offset, std::int64_t keys, std::int64_t dim, float* packed) {
    constexpr std::int64_t L = lanes<Arch>, width = Vectors * L;
    for (std::int64_t first = 0; first < keys; first += L) {
        float* panel = packed + first / width * width * dim + first % width;
        const std::int64_t here = std::min(L, keys - first);
        const T* row[static_cast<std::size_t>(L)];
        for (std::int64_t i = 0; i < L; ++i)
            row[i] = reinterpret_cast<const T*>(rows[first + std::min(i, here - 1)] + offset);
        for (std::int64_t c = 0; c < dim; c += L) {
            const std::int64_t channels = std::min(L, dim - c);
            Batch<Arch> block[static_cast<std::size_t>(L)];
            if (channels == L)
                unrolled<L>([&](auto i) ATTENTA_FLATTEN { block[i] = load<Arch>(row[i] + c); });
            else
                unrolled<L>([&](auto i) ATTENTA_FLATTEN { block[i] = load_part<Arch>(row[i] + c, channels); });
            transpose<Arch>(block);
            if (channels == L)
                unrolled<L>([&](auto i) ATTENTA_FLATTEN { block[i].store_unaligned(panel + (c + i) * width); });
            else
                unrolled<L>([&](auto i) ATTENTA_FLATTEN {
                    if (i < channels) block[i].store_unaligned(panel + (c + i) * width);
                });
        }
    }
    if constexpr (Vectors > 1) {  // the vectors of the last panel that no key reached
        for (std::int64_t first = (keys + L - 1) / L * L; first % width != 0; first += L)
            for (std::int64_t c = 0; c < dim; ++c)
                Batch<Arch>(0.f).store_unaligned(packed + first / width * width * dim + first % width + c * width);
    }
}

/// Column panels of `Vectors` vectors: packed[panel][key][column] at panel · block · width, the last panel narrowed to
/// the vectors that it needs, zero behind the last column.
template <class Arch, int Vectors, class T>
void pack_values(const std::byte* const* rows, std::int64_t offset, std::int64_t keys, std::int64_t block,
                 std::int64_t dim, float* packed) {
    constexpr std::int64_t L = lanes<Arch>, width = Vectors * L;
    for (std::int64_t c = 0; c < dim; c += L) {
        const std::int64_t panel = c / width * width, here = std::min(width, (dim - panel + L - 1) / L * L);
        float* out = packed + panel * block + (c - panel);
        const std::int64_t columns = std::min(L, dim - c);
        for (std::int64_t i = 0; i < keys; ++i) {
            const T* row = reinterpret_cast<const T*>(rows[i] + offset) + c;
            (columns == L ? load<Arch>(row) : load_part<Arch>(row, columns)).store_unaligned(out + i * here);
        }
    }
}

}  // namespace simd

ATTENTA_END
