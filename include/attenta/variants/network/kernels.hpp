// Scores from a small network on a pair of tokens, as the instruction sets compile them. The first layer acts on a query and a
// key side by side, so it is the sum of a query half and a key half that each token has once.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace network {

/// Halves of the first layer: queries [heads, queries, width], keys [key heads, width, key_stride], so that vectors run over
/// keys. A row of keys ends at least 16 numbers before the next one.
struct Halves {
    const float *query = nullptr, *key = nullptr;
    std::int64_t queries = 0, width = 0, key_stride = 0;
    std::int64_t group = 1;  ///< query heads of a key head

    const float* query_row(std::int64_t head, std::int64_t index) const {
        return query + (head * queries + index) * width;
    }
    const float* key_column(std::int64_t head, std::int64_t key_index) const {
        return key + head / group * width * key_stride + key_index;
    }
};

/// s_ij = Σ_a v_a tanh(q_ia + k_ja). With d = 1 + e^{2q} e^{2k} this is Σ_a v_a − Σ_a 2 v_a / d: exponentials belong to tokens, and
/// pairs are left with a division, of which four channels share one.
struct TanhScores {
    /// Halves up to here have exponentials whose product is a float or so large that the division gives 0. Pairs with a larger
    /// one go through tanh.
    static constexpr float most = 40.f;
    static constexpr std::int64_t channels_at_once = 4;

    Halves plain, exponential;  ///< of the latter the width is a multiple of channels_at_once
    const float *query_size = nullptr,
                *key_size = nullptr;                ///< [heads, queries], [key heads, key_stride]: largest |half|
    const float *v = nullptr, *minus_2v = nullptr;  ///< [plain.width], [exponential.width]
    float sum_of_v = 0;
};

/// s ← s + the network's score. Borrowed.
struct TanhPairs {
    const TanhScores* scores;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(TanhPairs)

/// to[i] = the score of a query and key begin + i, i < count; memory up to the next multiple of 16 is written.
using TanhScoresOfRow = void (*)(const TanhScores& scores, std::int64_t head, std::int64_t query, std::int64_t begin,
                                 std::int64_t count, float* to);
ATTENTA_DECLARE_KERNEL(TanhScoresOfRow, tanh_scores_of_row)

/// s_ij = Σ_m w_m relu(Σ_n W_mn relu(q_in + k_jn) + b_m) + shift, with the rows of W in panels of `panel` rows, [width, panel]
/// each, zeros behind the last row.
struct ReluScores {
    static constexpr std::int64_t panel = 4;

    Halves halves;
    const float *panels = nullptr, *bias = nullptr, *weights = nullptr;
    std::int64_t rows = 0;  ///< of W, a multiple of `panel`
    float shift = 0;
};
struct ReluPairs {
    const ReluScores* scores;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(ReluPairs)

/// Columns [begin, end) of the key half of one head, multiples of 16: x ← x + bias, exponential = e^2x, size = max |x|.
struct KeyColumns {
    float *plain = nullptr, *exponential = nullptr, *size = nullptr;
    std::int64_t width = 0, stride = 0, begin = 0, end = 0;
    const float* bias = nullptr;  ///< or null
};
using FinishKeys = void (*)(const KeyColumns& columns);
ATTENTA_DECLARE_KERNEL(FinishKeys, finish_tanh_keys)

/// The same of a row of queries; `exponential` has `padded` channels, zeros behind the width. Returns the size.
using FinishQuery = float (*)(const float* plain, std::int64_t width, float* exponential, std::int64_t padded);
ATTENTA_DECLARE_KERNEL(FinishQuery, finish_tanh_query)

/// to[i] = Σ_c v[c] tanh(x[i, c] + bias[c]) for `count` rows `stride` apart; bias may be null.
struct TanhRows {
    const float* x = nullptr;
    std::int64_t stride = 0, count = 0, dim = 0;
    const float *v = nullptr, *bias = nullptr;
};
using SumTanhRows = void (*)(const TanhRows& rows, float* to);
ATTENTA_DECLARE_KERNEL(SumTanhRows, sum_tanh_rows)

/// x ← tanh x
using MapRow = void (*)(float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(MapRow, tanh_row)
ATTENTA_DECLARE_KERNEL(MapRow, sigmoid_row)

/// to = σ(gate) ⊙ tanh(x)
using GateRow = void (*)(const float* gate, const float* x, float* to, std::int64_t n);
ATTENTA_DECLARE_KERNEL(GateRow, gated_tanh_row)

/// Σ x y
using DotRows = float (*)(const float* x, const float* y, std::int64_t n);
ATTENTA_DECLARE_KERNEL(DotRows, dot_rows)

/// x ← factor · x
using ScaleRow = void (*)(float* x, std::int64_t n, float factor);
ATTENTA_DECLARE_KERNEL(ScaleRow, scale_row_by)

/// Chooses a key for each row from weights that come in order of keys: the first of the largest ones or, with `u`, the first whose
/// cumulative weight exceeds u, at most the last one that weighs.
struct Choice {
    std::int64_t index = -1;  ///< of no key as long as none weighs
    double sum = 0;           ///< the largest weight so far, or the cumulative one
    bool done = false;
};
struct ChooseKey {
    Choice* choices;  ///< [heads, queries]
    std::int64_t queries;
    const float* u;  ///< [heads, queries] or null

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(ChooseKey)

}  // namespace network

ATTENTA_END
