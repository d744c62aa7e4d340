#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/variants/common.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace edits {

template <class Arch>
void GivenScores::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r)
        std::copy_n(scores + (t.row(r).head * queries + t.row(r).index) * stride + block.begin, block.count,
                    t.raw().s + r * t.raw().stride);
}

template <class Arch>
void Ones::operator()(Tile<Arch> t) const {
    for (std::int64_t r = 0; r < t.rows(); ++r) std::fill_n(t.raw().s + r * t.raw().stride, t.raw().keys.count, 1.f);
}

ATTENTA_DEFINE_EDIT(GivenScores)
ATTENTA_DEFINE_EDIT(Ones)

}  // namespace edits

ATTENTA_END
