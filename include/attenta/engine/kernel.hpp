// Writing a score edit of one's own, as a kernel for every instruction set.
//
//   decay.hpp       struct Decay { float rate; template <class Arch> void operator()(attenta::Tile<Arch> t) const; };
//                   ATTENTA_DECLARE_EDIT(Decay)                          // gives edit_of(const Decay&)
//   decay.cpp       #include "decay.hpp" and the template's definition, then
//                   ATTENTA_DEFINE_EDIT(Decay)
//   CMakeLists.txt  attenta_add_kernels(my_target decay.cpp)            // compiles decay.cpp once per instruction set
//
// In headers mode (ATTENTA_HEADERS) both macros give the one version of the including file.
#pragma once

#include <attenta/engine/score_edit.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/rows.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// A tile of scores or weights. `map(f)` replaces every vector s of scores by f(s, row, lane_keys): `row` is the
/// vector's query, `lane_keys` the positions of its keys as floats (exact below 2^24). `map(f)` with one argument is
/// for edits that need neither.
template <class Arch>
class Tile {
public:
    using Batch = simd::Batch<Arch>;

    explicit Tile(const ScoreTile& t) : t_(t) {}

    const ScoreTile& raw() const { return t_; }
    std::int64_t rows() const { return t_.rows; }
    const TileRow& row(std::int64_t r) const { return t_.row[r]; }

    template <class F>
    void map(F&& f) const {
        for (std::int64_t r = 0; r < t_.rows; ++r)
            for (std::int64_t i = 0; i < t_.keys.count; i += simd::lanes<Arch>) {
                float* const s = t_.s + r * t_.stride + i;
                const Batch x = simd::load<Arch>(s);
                if constexpr (std::is_invocable_v<F, Batch>)
                    f(x).store_unaligned(s);
                else
                    f(x, t_.row[r], key_positions(i)).store_unaligned(s);
            }
    }

    /// Positions of keys i .. i + lanes - 1 of the tile; keys behind the last repeat it.
    Batch key_positions(std::int64_t i) const {
        float p[static_cast<std::size_t>(simd::lanes<Arch>)];
        for (std::int64_t u = 0; u < simd::lanes<Arch>; ++u)
            p[u] = static_cast<float>(t_.keys.position(i + u < t_.keys.count ? i + u : t_.keys.count - 1));
        return simd::load<Arch>(p);
    }

private:
    const ScoreTile& t_;
};

namespace detail {

template <class Edit>
void run_edit(const void* parameters, ScoreTile& tile) {
    (*static_cast<const Edit*>(parameters))(Tile<simd::NativeArch>(tile));
}

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#define ATTENTA_DECLARE_EDIT(Edit)
#define ATTENTA_DEFINE_EDIT(Edit)                                                                       \
    inline attenta::ScoreEdit edit_of(const Edit& e) {                                                  \
        return attenta::ScoreEdit(                                                                      \
            e, [](attenta::Isa) -> attenta::TileFunction { return &attenta::detail::run_edit<Edit>; }); \
    }
#else
// attenta_add_kernels says which instruction sets ATTENTA_ISAS leaves out.
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_SSE2)
#define ATTENTA_ON_SSE2(X, Edit)
#else
#define ATTENTA_ON_SSE2(X, Edit) X(Edit, sse2)
#endif
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_AVX2)
#define ATTENTA_ON_AVX2(X, Edit)
#else
#define ATTENTA_ON_AVX2(X, Edit) X(Edit, avx2)
#endif
#if !(defined(__x86_64__) || defined(__i386__)) || defined(ATTENTA_WITHOUT_AVX512)
#define ATTENTA_ON_AVX512(X, Edit)
#else
#define ATTENTA_ON_AVX512(X, Edit) X(Edit, avx512)
#endif
#if defined(__aarch64__)
#define ATTENTA_ON_NEON64(X, Edit) X(Edit, neon64)
#else
#define ATTENTA_ON_NEON64(X, Edit)
#endif
#define ATTENTA_FOR_EACH_ISA(X, Edit) \
    ATTENTA_ON_SSE2(X, Edit) ATTENTA_ON_AVX2(X, Edit) ATTENTA_ON_AVX512(X, Edit) ATTENTA_ON_NEON64(X, Edit)
#define ATTENTA_EDIT_SYMBOL_(Edit, isa) attenta_edit_##Edit##_##isa
#define ATTENTA_EDIT_SYMBOL(Edit, isa) ATTENTA_EDIT_SYMBOL_(Edit, isa)
#define ATTENTA_EDIT_PROTOTYPE(Edit, isa) \
    extern "C" void ATTENTA_EDIT_SYMBOL(Edit, isa)(const void*, attenta::ScoreTile&);
#define ATTENTA_EDIT_CASE(Edit, isa) \
    if (which == attenta::Isa::isa) return &ATTENTA_EDIT_SYMBOL(Edit, isa);
#define ATTENTA_DECLARE_EDIT(Edit)                                                     \
    ATTENTA_FOR_EACH_ISA(ATTENTA_EDIT_PROTOTYPE, Edit)                                 \
    inline attenta::ScoreEdit edit_of(const Edit& e) {                                 \
        return attenta::ScoreEdit(e, [](attenta::Isa which) -> attenta::TileFunction { \
            ATTENTA_FOR_EACH_ISA(ATTENTA_EDIT_CASE, Edit)                              \
            return nullptr;                                                            \
        });                                                                            \
    }
#define ATTENTA_DEFINE_EDIT(Edit)                                                                                     \
    extern "C" void ATTENTA_EDIT_SYMBOL(Edit, ATTENTA_KERNEL_ISA)(const void* parameters, attenta::ScoreTile& tile) { \
        attenta::detail::run_edit<Edit>(parameters, tile);                                                            \
    }
#endif
