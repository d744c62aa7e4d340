// One more key for each query, of its own: an unfinished run, a sentinel, a learned key.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

/// One row takes the score `scale · q·k` in: o becomes the softmax over the keys before and this one; returns its lse.
using JoinKeyFunction = float (*)(const float* q, const float* k, std::int64_t dim, float scale, const float* v,
                                  std::int64_t dim_v, float* o, float lse);
ATTENTA_DECLARE_KERNEL(JoinKeyFunction, join_key)

/// The own keys of a call that is done otherwise: query t of head h meets row t of head h / (Hq / heads of k) of k and v; strides
/// of 0 give all queries or heads the same one. `has_key` [tokens] may leave queries without; empty: all have one. lse [Hq, Tq]. All
/// shapes have been checked.
void join_own_keys(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                   std::span<const std::uint8_t> has_key, float scale, Heads<float> o, float* lse, Context& context);

ATTENTA_END
