// What the variants that run on the attention engine share: their outputs, checked calls, passes that edits bring the scores of.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/score/score_edit.hpp>
#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

/// Where an attention writes whose weights are not a softmax.
struct WeightedOutputs {
    Heads<float> o;  ///< [Hq, Tq, Dv], 0 where a query sees no key
};

namespace detail {

/// Throws Error where a causal call has queries before the first key; a call that says where query 0 stands knows better.
void check_causal(const char* function, const VisibleKeys& visibility, std::int64_t queries, std::int64_t keys);

/// check_softmax of a call of this family.
template <class Inputs>
SoftmaxCall check_variant(const char* function, const Inputs& x, const SoftmaxOutputs& out, float scale,
                          const VisibleKeys& visibility, Context& context) {
    SoftmaxCall call = check_softmax(function, x, out, scale, visibility, context);
    check_causal(function, visibility, x.q.tokens, call.keys());
    return call;
}
/// The same, whose score edits are to make weights.
template <class Inputs>
SoftmaxCall check_weighted(const char* function, const Inputs& x, const WeightedOutputs& out, float scale,
                           const VisibleKeys& visibility, Context& context) {
    SoftmaxCall call = check_variant(function, x, SoftmaxOutputs{out.o}, scale, visibility, context);
    call.request.local_weights = true;
    return call;
}

/// A request whose edits replace all scores needs no products of queries and keys: of both it looks at one channel.
attention::Request without_products(attention::Request request);

/// How many keys each query sees, [Hq, Tq], as the sums of a pass whose weights are 1. `intervals`: the masks of the call are of
/// the kind that show a row all of its hull; then nothing runs.
void count_visible(const SoftmaxCall& call, bool intervals, std::vector<RowStatistics>& counts);

/// Whether `visibility` has no masks but intervals.
inline bool has_intervals(const VisibleKeys& v) { return v.segment_q.empty() && !v.mask && !v.visible; }

}  // namespace detail

namespace edits {

/// s ← scores[head, query, key], rows of `stride`.
struct GivenScores {
    const float* scores;
    std::int64_t queries, stride;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(GivenScores)

/// s ← 1, which sums count.
struct Ones {
    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(Ones)

}  // namespace edits

using edits::edit;

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/common.inl>
#include <attenta/variants/common_kernels.inl>
#endif
