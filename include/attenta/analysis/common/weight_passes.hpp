// Exact attention in passes, for calibrations: statistics of the rows first, then weights with known statistics, as often as needed.
#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/score/observers.hpp>
#include <attenta/softmax/common.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// What a calibration keeps while it runs.
struct CalibrationMemory {
    std::vector<RowStatistics> statistics;
    std::vector<float> mass, gain, sums, lse, q;
    std::vector<KeyRange> ranges;
    std::vector<std::int64_t> first;
};

class WeightPasses {
public:
    /// Throws Error before anything is written; the outputs o and lse are checked again with all others, by the caller.
    template <class Inputs>
    WeightPasses(const char* function, const Inputs& x, const Heads<float>& o, float* lse, bool causal,
                 const std::optional<float>& scale, Context& context)
        : q_(x.q), kv_(x.kv), context_(context), memory_(x.q.tokens, context) {
        options_.scale = attenta::detail::scale_or_default(scale, x.q.dim);
        options_.causal = causal;
        VisibleKeys visible;
        visible.causal = causal;
        attenta::detail::check_softmax(function, x, {o, lse}, *options_.scale, visible, context);
        if (x.kv.positions || x.kv.head_lengths)
            fail(function, "kv has keys out of their order, needs key j at position j");
    }

    std::int64_t heads() const { return q_.heads; }
    std::int64_t queries() const { return q_.tokens; }
    std::int64_t keys() const { return kv_.length(0); }
    std::int64_t rows() const { return q_.heads * q_.tokens; }
    CalibrationMemory& memory() const { return *memory_; }
    const SoftmaxOptions& options() const { return options_; }

    /// The first pass.
    void find_statistics() {
        memory_->statistics.resize(static_cast<std::size_t>(rows()));
        softmax_statistics(q_, kv_, memory_->statistics.data(), options_, context_);
    }
    /// Another one: weights through these edits, then o if it has data.
    void weigh(const ScoreEdits& edits, Heads<float> o = {}) {
        softmax_weights(q_, kv_, memory_->statistics.data(), edits, o, options_, context_);
    }
    /// The mass [rows, groups + 1] of groups of keys, that of no group last.
    const float* group_mass(const KeyGroups& groups) {
        memory_->mass.assign(static_cast<std::size_t>(rows() * (groups.count + 1)), 0.f);
        weigh({edit(GroupMass{groups, memory_->mass.data(), queries()})});
        return memory_->mass.data();
    }
    void give_lse(float* lse) const {
        if (lse)
            std::transform(memory_->statistics.begin(), memory_->statistics.end(), lse,
                           [](const RowStatistics& s) { return s.lse(); });
    }
    /// The last pass: o = Σ_j gain[row, group of j] weight_j v_j, and the weights as they are then.
    void weigh_groups(const KeyGroups& groups, const float* gain, Heads<float> o, float* weights) {
        ScoreEdits edits = {edit(GroupGain{groups, gain, queries()})};
        if (weights) {
            std::fill_n(weights, rows() * keys(), 0.f);
            edits.push_back(edit(edits::LastRows{weights, keys(), queries(), queries()}));
        }
        weigh(edits, o);
    }

private:
    Heads<const float> q_;
    KvView kv_;
    Context& context_;
    SoftmaxOptions options_;
    attenta::detail::CallMemory<CalibrationMemory> memory_;
};

/// Runs of keys that `is_member` tells, as ranges of group 0, behind those in `to`.
template <class F>
void append_runs(std::int64_t keys, F&& is_member, std::vector<KeyRange>& to) {
    for (std::int64_t j = 0; j < keys; ++j) {
        if (!is_member(j)) continue;
        const std::int64_t begin = j;
        while (j < keys && is_member(j)) ++j;
        to.push_back({begin, j, 0});
    }
}

}  // namespace analysis

ATTENTA_END
