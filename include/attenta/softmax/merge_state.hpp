// Merging partial results over disjoint key sets: (o, lse) is a commutative monoid.
//
//   lse = ln Σ_p exp(lse_p),   o = Σ_p exp(lse_p − lse) o_p
//
// The identity behind FlashDecoding (Dao et al. 2023), cascade and ring attention; the operator of Feng et al. 2024.
// A part with lse = −inf is neutral, whatever its o; all parts −inf: o = 0, lse = −inf.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// o_parts [P, H, T, Dv] and lse_parts [P, H, T] contiguous; o [H, T, Dv] contiguous, lse [H, T] or null. `o` and `lse` may
/// be the first part's. Throws Error for P = 0, sizes below zero or that no memory holds, null pointers, outputs that
/// overlap parts otherwise or each other, and an lse that is NaN or +inf. (FlashAttention-2 gives +inf for rows without
/// keys: make it -inf; here a +inf would hide that scores have overflown.)
void merge_state(const float* o_parts, const float* lse_parts, std::int64_t parts, std::int64_t heads,
                 std::int64_t tokens, std::int64_t dim_v, float* o, float* lse, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/softmax/merge_state.inl>
#endif
