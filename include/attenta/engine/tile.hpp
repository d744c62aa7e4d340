// The tile loop: attention over tiles of queries × keys with an online normaliser.
//
//     for a block of query rows:                       (the heads of a group are stacked as rows of one tile)
//       for blocks of keys that the mask leaves:       K and V are packed once per block
//         S = Q Kᵀ;  edits;  mask;  m, P = exp(S − m);  O = O · exp(m_old − m) + P V
//
// Row regimes, chosen by the number of rows R = Tq · Hq/Hkv of a sequence and K/V head:
//   R > few_rows     tiles of query rows × packed blocks of keys (tile/loop.hpp)
//   R <= few_rows    unpacked rows of K and V, each read from memory once, in its order (tile/rows_loop.hpp); K is cut
//                    into parts so that there is parallel work, and parts merge by (o, lse)
// The parts depend on the sequence alone: results are the same to the bit for any threads and any batch.
//
// Where the rest of DESIGN §4's table attaches:
//   a job across heads, with halo rows       Task::head_begin .. head_end, row_begin .. row_end: a task may span heads (the
//                                            rows loop does) and start before the rows that it writes
//   passes with known statistics             Request::two_passes: weights are exact in the second pass        (exists)
//   weights edited after the denominator     Request::weight_edits, with known statistics                     (exists)
//   observers: column sums, last rows, mass  a weight edit that only looks (observers.hpp)                    (exists)
//   values that depend on (i, j)             a weight edit sees its weights and keys, and adds to the rows' outputs
//   extra keys per query or head             a further part of the merge: (o, lse) of those keys
//   a softmax inside a softmax               a weight edit, with the inner statistics known
//   other normalisers                        the concept Normalizer (normalizer.hpp)                          (exists)
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/bytes.hpp>
#include <attenta/engine/mask.hpp>
#include <attenta/engine/row_statistics.hpp>
#include <attenta/engine/score_edit.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

struct Backend;

namespace tile {

inline constexpr std::int64_t key_block = 128;  ///< keys of a tile; a multiple of every panel width
inline constexpr std::int64_t rows_block =
    256;  ///< keys of a block of the rows loop: long streams, few changes of head
inline constexpr std::int64_t few_rows = 64;
static_assert(std::max(key_block, rows_block) <= ScoreTile::most_keys);

/// What a mechanism asks of the engine. Everything is borrowed.
struct Request {
    const char* function = "attention";  ///< for messages
    Heads<const float> q;                ///< shapes and strides; the data only of a run
    std::span<const std::int32_t> q_lengths;
    std::int64_t q_step =
        0;  ///< tokens from one sequence's queries to the next one's, where q, o and lse are described by
            ///< their first sequence alone; 0: the sequences follow each other in q
    KvView kv;
    float scale = 1;
    std::optional<std::int64_t> q_offset;     ///< position of query 0; default: the last query's is the newest key's
    std::span<const std::int64_t> q_offsets;  ///< [sequences] in place of q_offset, or empty
    std::vector<Mask> masks;                  ///< all must show a key
    ScoreEdits edits;
    std::span<const float> sink;  ///< [Hq] or empty

    bool values = true;  ///< false: only lse or statistics
    /// Statistics of rows are wanted, or known from such a pass: both passes then compute scores in the same way.
    bool two_passes = false;
    ScoreEdits weight_edits;  ///< on tiles of exact weights; needs known statistics. Tiles of one K/V head come in
                              ///< order, on one thread, so an edit may accumulate per head
};

/// An edit whose function is resolved.
struct EditCall {
    TileFunction function = nullptr;
    const void* parameters = nullptr;
};

/// What suits the processor's own prefetching where K and V come from memory: the places of a block that the rows loop
/// takes rows from in turn, for up to 8 rows of queries and for more, whether it reads one row after the other, and
/// whether it prefetches rows into L1, not L2.
struct MemoryOrder {
    std::int64_t few_rows = 2, many_rows = 1;
    bool whole_rows = false, prefetch_to_l1 = false;
};

/// What all tasks of a run share.
struct Job {
    Heads<const float> q;
    Heads<float> o;
    float* lse = nullptr;
    RowStatistics* statistics = nullptr;   ///< [Hq, tokens], as lse: the first pass writes them,
    const RowStatistics* known = nullptr;  ///< the second reads them
    KvView kv;
    std::int64_t group = 1;  ///< query heads per K/V head
    float scale = 1;         ///< folded into q
    MaskSet mask;
    const EditCall *edits = nullptr, *weight_edits = nullptr;
    std::int64_t edit_count = 0, weight_edit_count = 0;
    const float* sink = nullptr;
    bool values = true;
    float* part_o = nullptr;  ///< results of parts, and their
    RowStatistics* part_statistics = nullptr;
    PhaseTimes* phases = nullptr;
    MemoryOrder order;
};

/// Rows [row_begin, row_end) of K/V heads [head_begin, head_end) of a sequence against keys [key_begin, key_end).
/// Row r is query r / group of head r % group of its group.
struct Task {
    std::int64_t sequence = 0, q_begin = 0;  ///< token of q where the sequence starts
    std::int64_t q_offset = 0;               ///< position of its query 0
    std::int64_t head_begin = 0, head_end = 0, row_begin = 0, row_end = 0, key_begin = 0, key_end = 0;
    bool few = false;  ///< rows: runs in the rows loop
    std::int64_t part =
        -1;            ///< -1: the whole result, written to o; otherwise the task's first row among those of parts
    bool sink = true;  ///< this task counts the sink

    QueryRow query_row(std::int64_t head, std::int64_t r, std::int64_t group) const {
        return {static_cast<int>(head * group + r % group), r / group, q_offset + r / group, sequence};
    }
};

/// A row whose parts are to be merged: parts at part_o rows first, first + step, …
struct Merge {
    std::int64_t head = 0, token = 0, first = 0, step = 0, parts = 0;
};

/// Of the rows of a run, [Hq, tokens] or null: what the first pass writes, what the second knows.
struct Statistics {
    RowStatistics* found = nullptr;
    const RowStatistics* known = nullptr;
};

class Plan {
public:
    /// Checks everything and makes the schedule. Throws Error.
    Plan(const Request& request, Context& context);

    void run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse, Statistics statistics = {}) const;
    std::size_t scratch_bytes() const { return scratch_bytes_; }

private:
    void schedule(Task sequence, bool two_passes);
    void split(const Task& sequence, std::int64_t heads_per_task, std::int64_t least_keys);
    Interval visible_keys(const Task& sequence) const;
    void reserve_scratch();

    const Backend* backend_;
    Context* context_;
    std::vector<Mask> masks_;
    ScoreEdits edits_, weight_edits_;
    std::vector<EditCall> calls_;
    Job job_;
    std::vector<Task> tasks_;
    std::vector<Merge> merges_;
    std::int64_t part_rows_ = 0;
    std::size_t slot_bytes_ = 0, scratch_bytes_ = 0;
};

/// Throws Error if `o` (where the call has one) does not fit, if its bytes or those of `lse` meet those of q, K, V, the
/// tables of the cache, `others` or each other, or if pointers are null or misaligned.
void check_tensors(const char* function, Heads<const float> q, const KvView& kv, const Heads<float>* o,
                   const float* lse, std::span<const NamedBytes> others = {});

}  // namespace tile

ATTENTA_END
