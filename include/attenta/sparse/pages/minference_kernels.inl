#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/sparse/pages/minference_edit.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace edits {

template <class Arch>
void OffsetSums::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const std::int64_t count = std::min(block.count, row.position + 1 - block.begin);
        if (count > 0)
            simd::add_row<Arch>(sums + row.head * keys + keys - 1 - row.position + block.begin,
                                t.raw().s + r * t.raw().stride, count, 1.f);
    }
}

ATTENTA_DEFINE_EDIT(OffsetSums)

}  // namespace edits

ATTENTA_END
