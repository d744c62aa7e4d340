// What gates on feature maps share: maps times gates.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/dense/map_check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A gate of channel c at position p is channels[c] · positions[p], or their sum, plus `more`; what is null is left out.
struct MapGate {
    const float *channels = nullptr, *positions = nullptr;  ///< [C], [H · W]
    bool sum = false;
    float more = 0;
};
/// o = gate ⊙ x
void apply_gate(Heads<const float> x, const MapGate& gate, Heads<float> o, Context& context);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense_maps.inl>
#include <attenta/gating/common.inl>
#include <attenta/gating/kernels.inl>
#endif
