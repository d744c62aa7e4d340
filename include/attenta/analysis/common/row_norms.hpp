// Norms of the rows of a dense array, in double precision.
#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/analysis/kernels.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// Of rows of `dim` behind each other.
inline std::vector<double> row_norms(const float* x, std::int64_t rows, std::int64_t dim, Context& context) {
    std::vector<double> to(static_cast<std::size_t>(rows));
    for_pieces(context, rows, 256, [&](std::int64_t begin, std::int64_t end) {
        precise_dots()(x + begin * dim, x + begin * dim, end - begin, dim, to.data() + begin);
    });
    for (double& n : to) n = std::sqrt(n);
    return to;
}

}  // namespace analysis

ATTENTA_END
