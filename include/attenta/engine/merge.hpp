// Merging of parts: (o, lse) of disjoint key sets. See softmax/merge_state.hpp for the mathematics.
#pragma once

#include <attenta/simd/rows.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace tile {

/// One row: part p is o_parts[p · o_step ..] and lse_parts[p · lse_step]. `o` may be one of the parts' only if it is
/// the first.
template <class Arch>
void merge_row(const float* o_parts, std::int64_t o_step, const float* lse_parts, std::int64_t lse_step,
               std::int64_t parts, std::int64_t dim_v, float* o, float* lse) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    float top = none, sum = 0;
    for (std::int64_t p = 0; p < parts; ++p) top = std::max(top, lse_parts[p * lse_step]);
    const float shift = top == none ? 0.f : top;
    const auto weight = [&](std::int64_t p) { return std::exp(lse_parts[p * lse_step] - shift); };
    for (std::int64_t p = 0; p < parts; ++p) sum += weight(p);
    const float scale = sum == 0.f ? 0.f : 1.f / sum;
    bool first = true;
    for (std::int64_t p = 0; p < parts; ++p) {
        const float* part = o_parts + p * o_step;
        if (lse_parts[p * lse_step] == none) continue;  // neutral, whatever its o
        if (first) {
            simd::finish_row<Arch>(o, part, dim_v, weight(p) * scale);
        } else {
            simd::add_row<Arch>(o, part, dim_v, weight(p) * scale);
        }
        first = false;
    }
    if (first) std::fill_n(o, dim_v, 0.f);
    if (lse) *lse = sum == 0.f ? none : shift + std::log(sum);
}

}  // namespace tile

ATTENTA_END
