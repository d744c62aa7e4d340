// Writing a score edit of one's own, as a kernel for every instruction set.
//
//   decay.hpp       struct Decay { float rate; template <class Arch> void operator()(attenta::Tile<Arch> t) const; };
//                   ATTENTA_DECLARE_EDIT(Decay)                          // gives edit(const Decay&)
//   decay.cpp       #include "decay.hpp" and the template's definition, then
//                   ATTENTA_DEFINE_EDIT(Decay)
//   CMakeLists.txt  attenta_add_kernels(my_target decay.cpp)            // compiled once per instruction set
//
// In headers mode (ATTENTA_HEADERS) both macros give the one version of the including file.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

ATTENTA_BEGIN

/// Positions of the keys of a tile as floats, each the exact sum of a multiple of 4096 and a number below, so that
/// differences are rounded once, however far a stream has come.
template <class Arch>
class KeyPositions {
    using Batch = simd::Batch<Arch>;

public:
    explicit KeyPositions(const KeyBlock& keys) : origin_(keys.positions ? 0 : keys.begin) {
        const std::int64_t whole = (keys.count + simd::lanes<Arch> - 1) / simd::lanes<Arch> * simd::lanes<Arch>;
        for (std::int64_t i = 0; i < whole; ++i) {  // what stands behind the last key repeats it
            const auto [coarse, fine] = split(keys.position(std::min(i, keys.count - 1)));
            coarse_[i] = coarse;
            fine_[i] = fine;
        }
    }

    /// `position` minus those of keys i, i + 1, …
    struct From {
        Batch coarse, fine;
    };
    From from(std::int64_t position) const {
        const auto [coarse, fine] = split(position);
        return {Batch(coarse), Batch(fine)};
    }
    ATTENTA_ALWAYS_INLINE Batch distances(const From& from, std::int64_t i) const {
        return (from.coarse - simd::load<Arch>(coarse_ + i)) + (from.fine - simd::load<Arch>(fine_ + i));
    }

private:
    std::pair<float, float> split(std::int64_t position) const {
        const std::int64_t x = position - origin_, fine = x & 4095;
        return {static_cast<float>(x - fine), static_cast<float>(fine)};
    }

    std::int64_t origin_;
    float coarse_[ScoreTile::most_keys], fine_[ScoreTile::most_keys];
};

/// A tile of scores or weights. `map(f)` replaces every vector s of scores by f(s, row, distance): `row` is the vector's
/// query, `distance` its position minus those of the vector's keys. `map(f)` with one argument is for edits that need
/// neither.
template <class Arch>
class Tile {
public:
    using Batch = simd::Batch<Arch>;

    explicit Tile(const ScoreTile& t) : t_(t) {}

    const ScoreTile& raw() const { return t_; }
    std::int64_t rows() const { return t_.rows; }
    const QueryRow& row(std::int64_t r) const { return t_.row[r]; }

    template <class F>
    void map(F&& f) const {
        if constexpr (std::is_invocable_v<F, Batch>) {
            for (std::int64_t r = 0; r < t_.rows; ++r) map_row(r, [&](Batch s, std::int64_t) { return f(s); });
        } else {
            const KeyPositions<Arch> keys(t_.keys);
            for (std::int64_t r = 0; r < t_.rows; ++r) {
                const auto from = keys.from(t_.row[r].position);
                map_row(r, [&](Batch s, std::int64_t i) { return f(s, t_.row[r], keys.distances(from, i)); });
            }
        }
    }

private:
    template <class F>
    ATTENTA_ALWAYS_INLINE void map_row(std::int64_t r, F&& f) const {
        float* const s = t_.s + r * t_.stride;
        for (std::int64_t i = 0; i < t_.keys.count; i += simd::lanes<Arch>)
            f(simd::load<Arch>(s + i), i).store_unaligned(s + i);
    }

    const ScoreTile& t_;
};

namespace detail {

template <class Edit>
void run_edit(const void* parameters, ScoreTile& tile) {
    (*static_cast<const Edit*>(parameters))(Tile<simd::NativeArch>(tile));
}

}  // namespace detail

ATTENTA_END

#define ATTENTA_DEFINE_EDIT_KERNEL(Edit) \
    ATTENTA_DEFINE_KERNEL(attenta::TileFunction, edit_function_##Edit, &attenta::detail::run_edit<Edit>)
#if defined(ATTENTA_KERNEL_ISA)
#define ATTENTA_DEFINE_EDIT(Edit) ATTENTA_DEFINE_EDIT_KERNEL(Edit)
#else
#define ATTENTA_DEFINE_EDIT(Edit)                                                                    \
    ATTENTA_DEFINE_EDIT_KERNEL(Edit)                                                                 \
    ATTENTA_INLINE attenta::ScoreEdit edit(const Edit& e) {                                          \
        return attenta::ScoreEdit(                                                                   \
            e, [](attenta::Isa isa) -> attenta::TileFunction { return edit_function_##Edit(isa); }); \
    }
#endif
