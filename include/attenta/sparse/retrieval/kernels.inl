#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
void project_row(const float* x, std::int64_t dim, const float* basis, std::int64_t stride, std::int64_t width,
                 float* to) {
    std::fill_n(to, width, 0.f);
    for (std::int64_t c = 0; c < dim; ++c) simd::add_row<Arch>(to, basis + c * stride, width, x[c]);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(ProjectRow, project_row, &kernels::project_row<simd::NativeArch>)

ATTENTA_END
