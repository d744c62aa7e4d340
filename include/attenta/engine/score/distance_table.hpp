// A bias for each head and distance, as edits::DistanceBias reads it.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/score/edits.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// Values of distances first .. last, position of the key minus that of the query. Distances beyond have the value of the
/// nearest: on either side it is repeated for as many keys as a tile has, so that an edit reads any row without a branch.
class DistanceTable {
public:
    /// In the memory of the old values. value(head, distance) gives them.
    template <class F>
    void set(std::int64_t heads, std::int64_t first, std::int64_t last, F&& value) {
        first_ = first;
        count_ = last - first + 1;
        stride_ = count_ + 2 * padding;
        values_.resize(static_cast<std::size_t>(heads * stride_));
        for (std::int64_t h = 0; h < heads; ++h) {
            float* const row = values_.data() + h * stride_ + padding;
            for (std::int64_t i = 0; i < count_; ++i) row[i] = value(h, first + i);
            std::fill_n(row - padding, padding, row[0]);
            std::fill_n(row + count_, padding, row[count_ - 1]);
        }
    }
    edits::DistanceBias edit() const { return {values_.data() + padding, stride_, first_, count_}; }

private:
    static constexpr std::int64_t padding = edits::DistanceBias::padding;

    std::vector<float> values_;  ///< [heads, padding + count + padding]
    std::int64_t first_ = 0, count_ = 0, stride_ = 0;
};

ATTENTA_END
