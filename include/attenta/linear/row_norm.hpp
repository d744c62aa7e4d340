// Normalisation of outputs, for mechanisms that divide by a norm of them in place of a sum of weights.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

/// o / sqrt(mean o² + eps), or the same of o − mean o.
enum class RowNorm : std::uint8_t { rms, layer, none };
constexpr std::array<std::string_view, 3> names_of(RowNorm) { return {"rms", "layer", "none"}; }
/// What multiplies the outputs where there is a gate u: u itself or sigmoid(u).
enum class RowGate : std::uint8_t { none, sigmoid };
constexpr std::array<std::string_view, 2> names_of(RowGate) { return {"none", "sigmoid"}; }

namespace detail {

/// o [heads, 1, dim] of one token, normalised as one row, times the gate of u, which may have no data.
using NormRow = void (*)(Heads<float> o, Heads<const float> u, RowNorm norm, RowGate gate, float eps);
ATTENTA_DECLARE_KERNEL(NormRow, norm_row)

/// All tokens of o, the heads of a token joined or one by one.
inline void norm_rows(Heads<float> o, Heads<const float> u, bool joined, RowNorm norm, RowGate gate, float eps,
                      Context& context) {
    constexpr std::int64_t tokens = 16;  // of a task
    const NormRow function = norm_row();
    const std::int64_t tasks = (o.tokens + tokens - 1) / tokens, heads = joined ? o.heads : 1;
    const auto part = [heads](auto x, std::int64_t h, std::int64_t t) {
        if (x.data) x.data = x.row(h, t);
        x.heads = heads;
        return x;
    };
    context.executor().parallel_for(tasks, [&](std::int64_t i, int) {
        for (std::int64_t t = i * tokens; t < o.tokens && t < (i + 1) * tokens; ++t)
            for (std::int64_t h = 0; h < o.heads; h += heads) function(part(o, h, t), part(u, h, t), norm, gate, eps);
    });
}

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/row_norm_kernels.inl>
#endif
