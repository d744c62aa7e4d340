// Exact attention weights, tile by tile, without ever holding the matrix: a first pass for the statistics of the rows,
// a second one with weights exp(s − max) / sum that edits may read (observers) or change before they meet the values. For
// accumulated scores of eviction policies, read-outs, and mechanisms that edit weights after the denominator is known.
#pragma once

#include <attenta/engine/score/observers.hpp>
#include <attenta/softmax/softmax.hpp>

ATTENTA_BEGIN

/// Pass 1: statistics [Hq, Tq] of the rows (whose lse() they give) alone; half the work of softmax_attention. Throws Error
/// as softmax_attention does.
void softmax_statistics(Heads<const float> q, const KvView& kv, RowStatistics* statistics,
                        const SoftmaxOptions& options = {}, Context& context = default_context());

/// Pass 2: the weights with the statistics of pass 1 go through `weight_edits`, then, if `o` has data, o = Σ_j weight_ij v_j.
/// Tiles of one K/V head come in order of queries, then keys, on one thread. An edit that accumulates needs its memory
/// zeroed before.
void softmax_weights(Heads<const float> q, const KvView& kv, const RowStatistics* statistics,
                     const ScoreEdits& weight_edits, Heads<float> o = {}, const SoftmaxOptions& options = {},
                     Context& context = default_context());

/// Up to where a score has come: scale · q·k; softcap; bias, ALiBi, own edits and -inf where the key is hidden.
enum class ScoreStage { scaled, capped, masked };

/// The scores themselves, scores [Hq, Tq, Tk], what ONNX's Attention calls qk_matmul_output (modes 0 to 2; mode 3 is
/// edits::LastRows of all queries). A hidden key has -inf; onnxruntime writes the lowest float. Up to `capped` hidden keys
/// have the score that they would have. `v` is not read. Throws Error as softmax_attention does.
void softmax_scores(Heads<const float> q, const KvView& kv, float* scores, ScoreStage stage,
                    const SoftmaxOptions& options = {}, Context& context = default_context());

namespace detail {

/// softmax_attention that also keeps its scores, [Hq, Tq] rows of `stride`, by slot; scores of keys that nobody sees are not
/// written.
void attend_with_scores(Heads<const float> q, const KvView& kv, Heads<float> o, const SoftmaxOptions& options,
                        float* lse, float* scores, std::int64_t stride, Context& context);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/softmax/weights.inl>
#endif
