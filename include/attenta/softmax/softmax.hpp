// Exact softmax attention, with every option, in one pass over K and V.
//
//   s_ij = scale · q_i·k_j;  cap · tanh(s / cap);  + bias_ij − slope_h · |i − j|;  −inf where j is not visible
//   o_i  = Σ_j exp(s_ij − m_i) v_j / (Σ_j exp(s_ij − m_i) + exp(sink_h − m_i)),    lse_i = m_i + ln(denominator)
//
// Vaswani et al. 2017; grouped heads: Shazeer 2019, Ainslie et al. 2023; ALiBi: Press et al. 2022; online softmax:
// Milakov and Gimelshein 2018. Time Hq·Tq·Tk·(D + Dv), memory O(threads · tile).
//
// Prefill, chunks and decode are one function. Query head h reads K/V head h / (Hq / Hkv). Keys stand at 0 .. Tk-1
// (or at the KvView's positions), query i at i + q_offset: by default the last query stands where the newest key does.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/mask/combine.hpp>
#include <attenta/engine/mask/masks.hpp>
#include <attenta/engine/score/edits.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

ATTENTA_BEGIN

struct SoftmaxOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool causal = false;              ///< query i sees keys j <= i, and keys of the prefix
    std::int64_t prefix = 0;          ///< keys that a causal query sees whatever its position; a window limits
                                      ///< them, too: StreamingLLM's sinks are Window{n, 0} || Global{4}
    std::int64_t window_left = -1;    ///< keys before the query that it sees, its own not counted; -1: all
    std::int64_t window_right = -1;   ///< keys after it; -1: all. A window of no keys is visible = Global{0}
    std::optional<std::int64_t> q_offset = {};  ///< position of query 0; default: the last query's is the newest key's
    std::span<const std::int64_t> q_offsets = {};  ///< [sequences] q_offset of each sequence of a batch, in place of it
    float softcap = 0;                             ///< 0: off

    std::span<const float> alibi_slopes = {};  ///< [Hq], positive is a penalty
    std::span<const float> sink = {};          ///< [Hq], a finished logit that only joins the denominator: not a key
    std::span<const std::int64_t> segment_q = {};  ///< [Tq] document of each query,
    std::span<const std::int64_t> segment_k = {};  ///< [Tk] and of each key: only equal ones see each other
    Matrices<const bool> mask = {};                ///< [1 or Hq, 1 or Tq, Tk], true: visible
    FloatMatrices bias = {};  ///< [1 or Hq, 1 or Tq, Tk], may hold -inf, which hides as a mask does
    Mask visible = {};        ///< a mask of one's own, on top of all others
    ScoreEdits edits = {};    ///< edits of one's own, after bias and ALiBi
    /// [Hq, Tq, Dv] or [Hq, Tq, 1]: o ← o ⊙ sigmoid(gate), as the softmax layers of hybrids have it (Qwen3-Next, Kimi). lse is
    /// without it, and outputs that are to be merged are gated after the merge. Of softmax_attention and plan_softmax.
    Heads<const float> output_gate = {};
    /// [sequences] the keys that queries read, of those that the rest shows; empty: all. Not with segments, mask and bias.
    /// `visible` and `edits` see the keys' positions; their numbers are not those of the cache.
    std::span<const KeyLists> lists = {};
    // Rows of a mask or bias may be shorter than Tk: keys behind their end are hidden. Segments, mask and bias describe one
    // sequence. In a batch each sequence has its own, of its own sizes; one without data does nothing:
    std::span<const Documents> segments = {};          ///< [sequences]
    std::span<const Matrices<const bool>> masks = {};  ///< [sequences]
    std::span<const FloatMatrices> biases = {};        ///< [sequences]

    /// The scalar options: names for parameters, help and tables.
    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("prefix", o.prefix, "keys that every causal query sees");
        visit("window_left", o.window_left, "keys before the query that it sees, -1: all");
        visit("window_right", o.window_right, "keys after the query that it sees, -1: all");
        visit("q_offset", o.q_offset, "position of query 0, default Tk - Tq");
        visit("softcap", o.softcap, "cap · tanh(s / cap), 0: off");
    }
};

/// q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv] in float, bfloat16 or float16; o [Hq, Tq, Dv]; lse [Hq, Tq] or null,
/// natural logarithm. Rows that see no key give o = 0 and lse = -inf (or the sink), an empty cache too. The default
/// context has one thread, the caller's.
/// Throws Error on shapes, strides or options that do not fit, and if o overlaps an input; nothing is written then.
template <class K, class V>
void softmax_attention(Heads<const float> q, Heads<K> k, Heads<V> v, Heads<float> o, const SoftmaxOptions& options = {},
                       float* lse = nullptr, Context& context = default_context());

/// The same on any cache.
void softmax_attention(Heads<const float> q, const KvView& kv, Heads<float> o, const SoftmaxOptions& options = {},
                       float* lse = nullptr, Context& context = default_context());

/// The same on one sequence whose keys lie in up to four places: a quantised part and the newest tokens in float, a prefix
/// that sequences share, a memory. Each view has its own type and layout; keys of all but one need positions. Not with
/// lists, segments, mask and bias.
void softmax_attention(Heads<const float> q, std::span<const KvView> views, Heads<float> o,
                       const SoftmaxOptions& options = {}, float* lse = nullptr, Context& context = default_context());

/// The same for a batch of sequences of any lengths, prefill and decode mixed: the queries of sequence s are the next
/// q_lengths[s] tokens of q, its keys those of sequence s of `kv`. lse is [Hq, tokens of q].
void softmax_attention(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv, Heads<float> o,
                       const SoftmaxOptions& options = {}, float* lse = nullptr, Context& context = default_context());

/// The same for sequences of equal length in tensors [batch, head, token, dim], dense; lse is [batch, head, token]. Such K
/// and V are pages of one sequence each: KvView::paged(hnd(k, Hkv, Tk, D), hnd(v, Hkv, Tk, Dv), Hkv * Tk * D, batch,
/// table, 1, lengths, batch) with the table 0, 1, 2, .... ([batch, token, head, dim] is a batch as above.)
void softmax_attention(HeadsBatch<const float> q, const KvView& kv, HeadsBatch<float> o,
                       const SoftmaxOptions& options = {}, float* lse = nullptr, Context& context = default_context());

/// A call split in two: checks, schedule and scratch once, then `run` for every layer of a step. `run` checks nothing
/// and allocates nothing; its tensors must have the shapes, strides and cache tables that were planned. Borrowed and
/// needed until the last run: the context, the arrays of the options, the tables of the KvView.
class SoftmaxPlan {
public:
    /// An empty plan, as one that was moved from: `run` throws Error.
    SoftmaxPlan() noexcept;
    SoftmaxPlan(SoftmaxPlan&&) noexcept;
    SoftmaxPlan& operator=(SoftmaxPlan&&) noexcept;
    ~SoftmaxPlan();

    explicit operator bool() const { return plan_ != nullptr; }
    /// `output_gate`: a layer's own, with the shape and strides of the options'; null: that of the options.
    void run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse = nullptr,
             const float* output_gate = nullptr) const;

    /// Bytes of scratch that `run` uses in the context's workspace; 0 for an empty plan.
    std::size_t scratch_bytes() const;

private:
    friend SoftmaxPlan plan_softmax(Heads<const float>, std::span<const std::int32_t>, const KvView&,
                                    const SoftmaxOptions&, Context&);
    friend SoftmaxPlan plan_softmax(HeadsBatch<const float>, const KvView&, const SoftmaxOptions&, Context&);
    SoftmaxPlan(const attention::Request& request, Context& context);
    std::unique_ptr<attention::Plan> plan_;
};

/// Throws Error as softmax_attention does, block tables with pages out of range included. Only shapes and strides of
/// `q` count, not its data. `q_lengths` empty: one sequence.
SoftmaxPlan plan_softmax(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv,
                         const SoftmaxOptions& options = {}, Context& context = default_context());

/// For tensors [batch, head, token, dim]; `run` takes their first sequences, q.first() and o.first().
SoftmaxPlan plan_softmax(HeadsBatch<const float> q, const KvView& kv, const SoftmaxOptions& options = {},
                         Context& context = default_context());

template <class K, class V>
void softmax_attention(Heads<const float> q, Heads<K> k, Heads<V> v, Heads<float> o, const SoftmaxOptions& options,
                       float* lse, Context& context) {
    if (k.tokens != v.tokens || k.heads != v.heads)
        fail("softmax_attention", "v has " + std::to_string(v.heads) + " heads of " + std::to_string(v.tokens) +
                                      " tokens, k has " + std::to_string(k.heads) + " of " + std::to_string(k.tokens));
    softmax_attention(q, KvView::of(k, v), o, options, lse, context);
}

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/softmax/softmax.inl>
#endif
