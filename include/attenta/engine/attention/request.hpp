// The tile loop: attention over tiles of queries × keys with an online normaliser.
//
//     for a block of query rows:                       (the heads of a group are stacked as rows of one tile)
//       for blocks of keys that the mask leaves:       K and V are packed once per block
//         S = Q Kᵀ;  edits;  mask;  m, P = exp(S − m);  O = O · exp(m_old − m) + P V
//
// Row regimes, chosen by the number of rows R = Tq · Hq/Hkv of a sequence and K/V head:
//   R > few_rows     tiles of query rows × packed blocks of keys (engine/tile)
//   R <= few_rows    unpacked rows of K and V, each read from memory once, in its order (engine/few); K is cut
//                    into parts so that there is parallel work, and parts merge by (o, lse)
// The parts depend on the sequence alone: results are the same to the bit for any threads and any batch.
//
// Where the rest of DESIGN §4's table attaches:
//   a job across heads, with halo rows       Task::head_begin .. head_end, row_begin .. row_end: a task may span heads (the
//                                            few-query loop does) and start before the rows that it writes
//   passes with known statistics             Request::two_passes: weights are exact in the second pass        (exists)
//   weights edited after the denominator     Request::weight_edits, with known statistics                     (exists)
//   observers: column sums, last rows, mass  a weight edit that only looks (observers.hpp)                    (exists)
//   values that depend on (i, j)             a weight edit sees its weights and keys, and adds to the rows' outputs
//   extra keys per query or head             a further part of the merge: (o, lse) of those keys
//   a softmax inside a softmax               a weight edit, with the inner statistics known
//   row-local weights                        Request::local_weights: score edits make weights                 (exists)
//   other normalisers                        the concept Normalizer (normalizer.hpp)                          (exists)
//   gates of finished outputs                Request::output_gate                                             (exists)
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/few_vector.hpp>
#include <attenta/engine/lists/key_lists.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace attention {

inline constexpr std::size_t most_views = 4;

/// What a mechanism asks of the engine. Everything is borrowed.
struct Request {
    const char* function = "attention";  ///< for messages
    Heads<const float> q;                ///< shapes and strides; the data only of a run
    std::span<const std::int32_t> q_lengths;
    std::int64_t q_step =
        0;  ///< tokens from one sequence's queries to the next one's, where q, o and lse are described by
            ///< their first sequence alone; 0: the sequences follow each other in q
    KvView kv;
    std::span<const KvView>
        more;  ///< further keys of the same sequences, of any type and length, at positions of their own
    std::span<const KeyLists> lists;  ///< [sequences] the keys that queries read, or empty: all
    float scale = 1;
    std::optional<std::int64_t> q_offset;     ///< position of query 0; default: the last query's is the newest key's
    std::span<const std::int64_t> q_offsets;  ///< [sequences] in place of q_offset, or empty
    FewVector<Mask, 4> masks;                 ///< all must show a key
    FewVector<ScoreEdit, 4> edits;
    std::span<const float> sink;  ///< [Hq] or empty
    /// [Hq, tokens, Dv] or [Hq, tokens, 1], or none: finished rows of o are multiplied by its sigmoid.
    Heads<const float> output_gate = {};

    bool values = true;  ///< false: only lse or statistics
    /// Statistics of rows are wanted, or known from such a pass: both passes then compute scores in the same way.
    bool two_passes = false;
    ScoreEdits weight_edits;  ///< on tiles of exact weights; needs known statistics. Tiles of one K/V head come in
                              ///< order, on one thread, so an edit may accumulate per head
    /// What leaves the score edits are weights, each of its own score alone: there is no softmax, and o = Σ_j weight_ij v_j.
    /// Hidden keys weigh 0. Statistics that are found have max 0 and the sum of a row's weights; there is no lse. With one view,
    /// without lists and sinks.
    bool local_weights = false;
    bool in_order = false;  ///< tiles of a row come in the order of its keys, on one thread, so that score edits may
                            ///< accumulate per row: few rows do not meet parts of their keys side by side
};

/// Of the rows of a run, [Hq, tokens] or null: what the first pass writes, what the second knows.
struct Statistics {
    RowStatistics* found = nullptr;
    const RowStatistics* known = nullptr;
    /// [Hq, tokens] rows of `scores_stride`, or null: takes the scores as they meet the softmax, by the place of their keys in
    /// the only view. Keys of tiles that nobody sees are left out.
    float* scores = nullptr;
    std::int64_t scores_stride = 0;
};

class Plan {
public:
    Plan() = default;
    Plan(const Request& request, Context& context) { make(request, context); }
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    /// Checks everything and makes the schedule, in place of an earlier one and in its memory. Throws Error.
    void make(const Request& request, Context& context);
    /// `output_gate` is in place of the planned one, of its shape; null: the planned one.
    void run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse, Statistics statistics = {},
             const float* output_gate = nullptr) const {
        run(q, kv, {}, o, lse, statistics, output_gate);
    }
    void run(Heads<const float> q, const KvView& kv, std::span<const KvView> more, Heads<float> o, float* lse,
             Statistics statistics = {}, const float* output_gate = nullptr) const;
    std::size_t scratch_bytes() const { return scratch_bytes_; }
    bool has_gate() const { return job_.output_gate.data != nullptr; }

private:
    /// Tasks that run one after the other on the same rows, each from where the one before has come.
    struct Chain {
        std::size_t begin = 0, end = 0;  ///< of the tasks of chains
        Task rows;                       ///< all rows of one K/V head that the tasks may have
    };
    /// What the tasks of a sequence with lists refer to.
    struct ListMemory {
        KeyLists united;                    ///< what query heads of a group read together
        std::vector<KeyRun> blocks;         ///< of keys, for chains
        std::vector<std::int32_t> queries;  ///< that read a block
    };

    void clear();
    const KvView& kv_of(const Task& t) const {
        return t.view == 0 ? job_.kv : more_[static_cast<std::size_t>(t.view - 1)];
    }
    void schedule(const Task& rows, bool two_passes);
    void schedule_heads(const Task& sequence, bool two_passes);
    void schedule_views(const Task& sequence);
    void schedule_few(std::span<const Task> views, bool may_split);
    std::int64_t part_length(std::int64_t keys, std::int64_t least) const;
    Interval visible_keys(const Task& rows) const;
    void order_tasks();
    void reserve_scratch();
    void run_chain(const Job* jobs, const Chain& chain, std::byte* scratch) const;
    void gate_outputs(const Job& job, const Task& rows) const;

    // Keys on lists: list_plan.inl.
    void finish_lists();
    bool is_everything(const Task& sequence, const KeyLists& lists) const;
    void schedule_lists(const Task& sequence, const KeyLists& lists);
    void schedule_united(const Task& sequence, const KeyLists& lists);
    void schedule_chains(const Task& sequence, const KeyLists& lists);
    void take_entries(const KeyLists& lists);
    ListMemory& next_list_memory();

    Isa isa_ = {};
    Context* context_ = nullptr;
    std::vector<Mask> masks_;
    ScoreEdits edits_, weight_edits_;
    std::vector<EditCall> calls_;
    Job job_;
    std::vector<KvView> more_;
    bool in_order_ = false;
    std::vector<Task> tasks_;
    /// In which tasks are handed out, each by its -cost and number; empty: as they stand.
    std::vector<std::pair<std::int64_t, std::size_t>> order_;
    std::vector<Merge> merges_;
    std::vector<Chain> chains_;
    std::vector<Task> chain_tasks_;       ///< of all chains
    std::deque<ListMemory> list_memory_;  ///< the first of them are in use:
    std::size_t list_memories_ = 0;
    std::int64_t listed_keys_ = 0;              ///< keys on the lists of the sequences so far, and of each of them:
    std::vector<std::uint16_t> heads_of_keys_;  ///< who reads it
    std::vector<float> bias_, key_gain_, value_gain_;
    /// [sequences] whether keys are counted on the lists. Where lists leave out nothing, and in chains, they are not: what
    /// other sequences' keys bring along is none of theirs.
    std::vector<std::uint8_t> counted_;
    std::int64_t run_rows_ = 0;  ///< of o
    std::int64_t part_rows_ = 0;
    std::size_t slot_bytes_ = 0, scratch_bytes_ = 0;
};

/// The context's own plan, made for this request: valid until it is asked for another one.
const Plan& plan(const Request& request, Context& context);

/// What a plan checks. Throws Error.
void check(const Request& request);

/// Throws Error if `o` (where the call has one) does not fit, if its bytes or those of `lse` meet those of q, K, V, the
/// tables of the cache, `others` or each other, or if pointers are null or misaligned.
void check_tensors(const char* function, Heads<const float> q, const KvView& kv, const Heads<float>* o,
                   const float* lse, std::span<const NamedBytes> others = {});

}  // namespace attention

ATTENTA_END
