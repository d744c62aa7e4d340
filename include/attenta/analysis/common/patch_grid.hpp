// Attention between the patches of an image, by their distance.
#pragma once

#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

class PatchGrid {
public:
    PatchGrid(std::int64_t rows, std::int64_t cols)
        : rows_(rows), cols_(cols), distance_(static_cast<std::size_t>(rows * (2 * cols - 1))) {
        for (std::int64_t dy = 0; dy < rows; ++dy)
            for (std::int64_t dx = 1 - cols; dx < cols; ++dx)
                distance_[static_cast<std::size_t>(dy * (2 * cols - 1) + cols - 1 + dx)] =
                    static_cast<float>(std::hypot(static_cast<double>(dy), static_cast<double>(dx)));
    }

    std::int64_t patches() const { return rows_ * cols_; }
    std::int64_t hops() const { return std::max(rows_, cols_); }

    /// Σ_q weights[q] |p − q|
    double distance_sum(std::int64_t p, const float* weights) const {
        const std::int64_t y = p / cols_, x = p % cols_;
        double sum = 0;
        for (std::int64_t other = 0; other < rows_; ++other) {
            const float* const from = distance_.data() + std::abs(other - y) * (2 * cols_ - 1) + cols_ - 1 - x;
            sum += double{dot_of_weights()(weights + other * cols_, from, cols_)};
        }
        return sum;
    }

    /// sums[r] += the weights of patches r hops from p. Of a row dy away those up to dy columns off are dy hops away, those beyond
    /// as many as they are columns off: these are summed by columns first.
    void add_hops(std::int64_t p, const float* weights, double* sums) const {
        const std::int64_t y = p / cols_, x = p % cols_;
        std::vector<float> beyond(static_cast<std::size_t>(cols_));
        for (std::int64_t other = 0; other < rows_; ++other) {
            const float* const row = weights + other * cols_;
            const std::int64_t dy = std::abs(other - y);
            const std::int64_t begin = std::max<std::int64_t>(x - dy, 0), end = std::min(x + dy + 1, cols_);
            sums[dy] += double{sum_of_weights()(row + begin, end - begin)};
            add_weighted_row()(row, begin, 1.f, beyond.data());
            add_weighted_row()(row + end, cols_ - end, 1.f, beyond.data() + end);
        }
        for (std::int64_t at = 0; at < cols_; ++at)
            sums[std::abs(at - x)] += double{beyond[static_cast<std::size_t>(at)]};
    }

    /// How many pairs of patches are r hops apart.
    double pairs(std::int64_t r) const { return within(r) - (r > 0 ? within(r - 1) : 0); }

private:
    double within(std::int64_t r) const { return within(rows_, r) * within(cols_, r); }
    /// Pairs of n numbers that differ by r at most.
    static double within(std::int64_t n, std::int64_t r) {
        const std::int64_t most = std::min(r, n - 1);
        return static_cast<double>(n) + static_cast<double>(most) * static_cast<double>(2 * n - most - 1);
    }

    std::int64_t rows_, cols_;
    std::vector<float> distance_;  ///< [rows, 2 cols − 1] by |dy| and dx + cols − 1
};

}  // namespace analysis

ATTENTA_END
