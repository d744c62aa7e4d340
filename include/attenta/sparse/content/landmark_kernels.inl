#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/sparse/content/landmark_edits.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace edits {

/// f(query, scores, n, block, has landmark) for each row and block of a tile: n ordinary keys, then the landmark. Keys of a
/// block follow each other.
template <class F>
void for_landmark_blocks(const ScoreTile& t, const LandmarkTable& table, F&& f) {
    for (std::int64_t i = 0; i < t.keys.count;) {
        const std::int64_t position = t.keys.position(i), block = table.block_of(position);
        const std::int64_t left = (block + 1) * table.block_size - position, here = std::min(left, t.keys.count - i);
        for (std::int64_t r = 0; r < t.rows; ++r)
            f(t.row[r], t.s + r * t.stride + i, left == here ? here - 1 : here, block, left == here);
        i += here;
    }
}

/// log(e^before + Σ exp s[i]), i < n.
template <class Arch>
float add_to_logarithm(float before, const float* s, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const B nothing(-std::numeric_limits<float>::infinity());
    const auto load = [&](std::int64_t i) {
        if (i + L <= n) return simd::load<Arch>(s + i);
        return simd::select<Arch>((1u << (n - i)) - 1, simd::load_part<Arch>(s + i, n - i), nothing);
    };
    B top(before);
    for (std::int64_t i = 0; i < n; i += L) top = simd::max<Arch>(top, load(i));
    const float most = simd::reduce_max<Arch>(top);
    B sum(0.f);
    for (std::int64_t i = 0; i < n; i += L) sum = sum + simd::exp_weight<Arch>(load(i) - B(most));
    return most + std::log(std::exp(before - most) + simd::reduce_add<Arch>(sum));
}

template <class Arch>
void LandmarkInside::operator()(Tile<Arch> t) const {
    for_landmark_blocks(t.raw(), table,
                        [&](const QueryRow& row, const float* s, std::int64_t n, std::int64_t block, bool landmark) {
                            if (block >= table.block_of(row.position)) return;
                            float& number = table.row(row)[block];
                            if (n > 0) number = add_to_logarithm<Arch>(number, s, n);
                            if (landmark) number = s[n] - number;
                        });
}

template <class Arch>
void LandmarkShares::operator()(Tile<Arch> t) const {
    for_landmark_blocks(t.raw(), table,
                        [&](const QueryRow& row, float* s, std::int64_t n, std::int64_t block, bool landmark) {
                            if (landmark) s[n] = -std::numeric_limits<float>::infinity();
                            if (block >= table.block_of(row.position)) return;
                            const float number = table.row(row)[block];
                            for (std::int64_t i = 0; i < n; ++i) s[i] += number;
                        });
}

ATTENTA_DEFINE_EDIT(LandmarkInside)
ATTENTA_DEFINE_EDIT(LandmarkShares)

}  // namespace edits

ATTENTA_END
