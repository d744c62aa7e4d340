#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// scale · q·row of a row of any floating type.
using DotOfRow = float (*)(const void* row, Dtype type, const float* q, std::int64_t dim, float scale);
ATTENTA_DECLARE_KERNEL(DotOfRow, dot_of_row)

/// What a head's scores become, token by token.
struct PrefixWeights {
    float *own, *kept;  ///< [T] exp(s_t − m_t), in place of the scores, and exp(m_{t−1} − m_t)
    float* inverse;     ///< [T] 1 / u_t, 0 where u_t is 0
    float* lse;         ///< [T], or null
    float m, u;         ///< the state, before and behind
};
using WeighPrefixes = void (*)(PrefixWeights& w, std::int64_t tokens);
ATTENTA_DECLARE_KERNEL(WeighPrefixes, weigh_prefixes)

/// Running sums of channels begin .. begin + count − 1 of values, which lie `offset` bytes behind v[t].
struct PrefixValues {
    const std::byte* const* v = nullptr;
    std::int64_t offset = 0;
    Dtype type = Dtype::f32;
    std::int64_t begin = 0, count = 0;
    const float *own = nullptr, *kept = nullptr, *inverse = nullptr;  ///< of the first token
    float* w = nullptr;                                               ///< [count] the state
    float* o = nullptr;                                               ///< row of the first token
    std::int64_t o_stride = 0;
};
using AddPrefixes = void (*)(const PrefixValues& x, std::int64_t tokens);
ATTENTA_DECLARE_KERNEL(AddPrefixes, add_prefixes)

}  // namespace detail

ATTENTA_END
