// What happens to a tile of scores between the products and the softmax.
//
// An edit is a small struct of parameters with a function on a tile (rows × keys of scores in cache), written over SIMD
// batches and compiled for every instruction set:
//
//     struct Decay {
//         float rate;
//         template <class Arch> void operator()(attenta::Tile<Arch> t) const;
//     };
//
// An edit that hides a key sets its score to -inf: adding -inf would make NaN of a score that is inf or NaN, which keys
// that nobody sees may give. Scores of keys that the mask hides are set to -inf behind the last edit.
//
// The CMake function `attenta_add_kernels` compiles edits, attenta's and one's own, or headers mode does (see
// engine/score/own_edit.hpp), and a plain lambda `edit([](ScoreTile& t) { ... })`
// works as well: it is compiled for the ISA of its own file only, and walks the tile element by element, so it is slow.
//
// Where other score formulas attach (DESIGN §4):
//   sums of products, functions of the pair    an edit sees the rows and keys of its tile (QueryRow, KeyBlock) and may add
//                                              products of its own; disentangled, relative_xl, neural, additive
//   state per query block, declared key order  TileLoop::pass walks a block's keys and owns its state; a Request will say
//                                              in which order; path
//   relative terms                             tables by distance: QueryRow::position - KeyBlock::position
#pragma once

#include <attenta/core/isa.hpp>
#include <attenta/engine/mask/mask.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// A tile of scores, natural logits (scaled). Row r belongs to query row[r]; scores of row r stand at
/// s[r · stride + i], i < keys.count. Memory up to the next multiple of 16 keys may be written.
struct ScoreTile {
    static constexpr std::int64_t most_keys = 256;

    float* s = nullptr;
    std::int64_t stride = 0;
    std::int64_t rows = 0;
    const QueryRow* row = nullptr;
    KeyBlock keys;
};

template <class Arch>
class Tile;  ///< a ScoreTile on SIMD batches: own_edit.hpp

using TileFunction = void (*)(const void* parameters, ScoreTile& tile);

/// One edit, by value: a copy of its parameters and the way to its compiled function.
class ScoreEdit {
public:
    static constexpr std::size_t capacity = 64;

    ScoreEdit() = default;
    template <class P>
    ScoreEdit(const P& parameters, TileFunction (*resolve)(Isa)) : resolve_(resolve) {
        static_assert(sizeof(P) <= capacity && std::is_trivially_copyable_v<P>,
                      "an edit is a small struct of values and borrowed pointers");
        ::new (static_cast<void*>(storage_)) P(parameters);
    }

    explicit operator bool() const { return resolve_ != nullptr; }
    TileFunction function(Isa isa) const { return resolve_(isa); }
    const void* parameters() const { return storage_; }

private:
    TileFunction (*resolve_)(Isa) = nullptr;
    alignas(8) std::byte storage_[capacity];
};

/// Edits in order.
using ScoreEdits = std::vector<ScoreEdit>;

inline ScoreEdits operator|(const ScoreEdit& a, const ScoreEdit& b) { return {a, b}; }
inline ScoreEdits operator|(ScoreEdits a, const ScoreEdit& b) {
    a.push_back(b);
    return a;
}

/// A lambda on ScoreTile&. Slow: prefer a kernel. Its captures must fit into ScoreEdit::capacity.
template <class F>
requires std::is_invocable_v<const F&, ScoreTile&> ScoreEdit edit(const F& f) {
    return ScoreEdit(
        f, [](Isa) -> TileFunction { return [](const void* p, ScoreTile& t) { (*static_cast<const F*>(p))(t); }; });
}

ATTENTA_END

/// `edit(const Edit&)` for an edit that ATTENTA_DEFINE_EDIT compiles (own_edit.hpp).
#define ATTENTA_DECLARE_EDIT(Edit) ATTENTA_INLINE attenta::ScoreEdit edit(const Edit& e);
