// What a plan hands to its loops: a job that all tasks of a run share, and tasks.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/phases.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/lists/key_lists.hpp>
#include <attenta/engine/mask/mask.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

static_assert(std::max(key_block, rows_block) <= ScoreTile::most_keys);

/// An edit whose function is resolved.
struct EditCall {
    TileFunction function = nullptr;
    const void* parameters = nullptr;
};

/// The loops widen keys into L1 before their products.
inline bool widens_keys(const KvView& kv) { return kv.k.dtype == Dtype::codes || kv.tied > 0; }

/// What all tasks of a run share.
struct Job {
    Heads<const float> q;
    Heads<float> o;
    float* lse = nullptr;
    RowStatistics* statistics = nullptr;   ///< [Hq, tokens], as lse: the first pass writes them,
    const RowStatistics* known = nullptr;  ///< the second reads them
    float* scores = nullptr;               ///< [Hq, tokens, scores_stride]: what the softmax meets
    std::int64_t scores_stride = 0;
    KvView kv;
    float scale = 1;  ///< folded into q
    MaskSet mask;
    const EditCall *edits = nullptr, *weight_edits = nullptr;
    std::int64_t edit_count = 0, weight_edit_count = 0;
    const float* sink = nullptr;
    Heads<const float> output_gate = {};
    const float* value_gain = nullptr;  ///< of each key on the lists: factors of values, not of the sum of weights, of
    const std::uint8_t* counted = nullptr;  ///< [sequences] those whose keys are counted on the lists
    bool values = true;
    bool local_weights = false;  ///< edits make weights: rows have no maximum and no denominator
    float* part_o = nullptr;     ///< results of parts, and their
    RowStatistics* part_statistics = nullptr;
    PhaseTimes* phases = nullptr;
    const Tuning* tuning = nullptr;  ///< the processor's row

    bool has_value_gain(std::int64_t sequence) const { return value_gain && counted[sequence] != 0; }
    float* scores_of(const QueryRow& row, std::int64_t q_begin, std::int64_t key) const {
        return scores + (row.head * q.tokens + q_begin + row.index) * scores_stride + key;
    }
};

/// Rows [row_begin, row_end) of K/V heads [head_begin, head_end) of a sequence against keys [key_begin, key_end).
/// Row r is query r / heads_per_query of head r % heads_per_query of those that the task takes of a K/V head's group.
struct Task {
    std::int64_t sequence = 0, q_begin = 0;  ///< token of q where the sequence starts
    std::int64_t q_offset = 0;               ///< position of its query 0
    std::int64_t head_begin = 0, head_end = 0, row_begin = 0, row_end = 0, key_begin = 0, key_end = 0;
    std::int64_t group = 1, heads_per_query = 1, first_of_group = 0;  ///< query heads of a K/V head, those taken of it
    ListedKeys listed = {};  ///< the keys are those of a list, where [key_begin, key_end) counts the keys on all lists
    const std::int32_t* queries = nullptr;  ///< query n is queries[n]; null: query n
    int view = 0;                           ///< of the call's caches, that these keys are of
    bool few = false;                       ///< rows: runs in the few-query loop
    std::int64_t part =
        -1;              ///< -1: the whole result, written to o; otherwise the task's first row among those of parts
    bool sink = true;    ///< this task counts the sink
    bool chain = false;  ///< goes on from the rows' outputs and statistics, and runs after the task before it

    QueryRow query_row(std::int64_t head, std::int64_t r) const {
        const std::int64_t n = r / heads_per_query, query = queries ? queries[n] : n;
        return {static_cast<int>(head * group + first_of_group + r % heads_per_query), query, q_offset + query,
                sequence};
    }
};

/// A row whose parts are to be merged: parts at part_o rows first, first + step, …
struct Merge {
    std::int64_t head = 0, token = 0, first = 0, step = 0, parts = 0;
};

/// What a loop does with a task; `scratch` belongs to the slot.
using TaskFunction = void (*)(const Job& job, const Task& task, std::byte* scratch);

}  // namespace attention

ATTENTA_END
