#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Checks what is softmax's own and writes the call as a request to the tile engine.
class SoftmaxRequest {
public:
    SoftmaxRequest(const char* function, Heads<const float> q, std::span<const std::int32_t> q_lengths,
                   const KvView& kv, const SoftmaxOptions& o, std::span<const KvView> more = {},
                   bool takes_gate = false)
        : f_(function), o_(o), q_(q), q_lengths_(q_lengths), kv_(kv) {
        check_numbers();
        if (has_gate()) check_gate(takes_gate);
        if (!more.empty())
            for_sequences([this](const Sequence&) {
                fail(f_, "several views are given beside segments, mask or bias, needs one view");
            });
        check_array("alibi_slopes", o.alibi_slopes, q.heads);
        check_array("sink", o.sink, q.heads);
        if (has_lengths()) check_sequences();
        if (!o.lists.empty())
            for_sequences([this](const Sequence&) {
                fail(f_, "lists are given beside segments, mask or bias, needs one of both: put a bias into the lists");
            });
        r_.function = function;
        r_.q = q;
        r_.q_lengths = q_lengths;
        r_.kv = kv;
        r_.more = more;
        r_.scale = o.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
        r_.q_offset = o.q_offset;
        r_.q_offsets = o.q_offsets;
        r_.sink = o.sink;
        r_.lists = o.lists;
        if (has_gate()) r_.output_gate = o.output_gate;
        add_masks();
        add_edits();
    }

    /// Sequences of a dense tensor [batch, head, token, dim], all of its length. `q_lengths` becomes theirs.
    SoftmaxRequest(const char* function, HeadsBatch<const float> q, std::vector<std::int32_t>& q_lengths,
                   const KvView& kv, const SoftmaxOptions& o)
        : SoftmaxRequest(function, q.first(), equal_lengths(function, q, kv, q_lengths), kv, o) {
        r_.q_step = saturating::multiply(q.heads, q.tokens);
    }

    attention::Request& request() { return r_; }

    /// The arrays of the options, which no output may meet.
    FewVector<NamedBytes, 8> arrays() const {
        FewVector<NamedBytes, 8> a;
        const auto add = [&a](const char* name, const Bytes& b) {
            if (b.size() > 0) a.push_back({name, b});
        };
        add("q_lengths", bytes_of(q_lengths_));
        add("alibi_slopes", bytes_of(o_.alibi_slopes));
        add("sink", bytes_of(o_.sink));
        if (has_gate()) add("output_gate", bytes_of(o_.output_gate));
        for_sequences([&](const Sequence& s) {
            add("segment_q", bytes_of(s.segments.query));
            add("segment_k", bytes_of(s.segments.key));
            add("mask", bytes_of(s.mask, sizeof(bool)));
            add("bias", bytes_of(s.bias, size_of(s.bias.dtype)));
        });
        return a;
    }

private:
    /// What the options say of one sequence.
    struct Sequence {
        std::int64_t number;  ///< in the batch; -1: the only one
        std::int64_t queries, keys;
        Documents segments;
        Matrices<const bool> mask;
        FloatMatrices bias;

        std::string name(const char* array) const {
            return number < 0 ? array : array + (" of sequence " + text(number));
        }
    };

    static std::span<const std::int32_t> equal_lengths(const char* f, HeadsBatch<const float> q, const KvView& kv,
                                                       std::vector<std::int32_t>& lengths) {
        if (q.batch != kv.sequences) fail(f, "q has " + text(q.batch) + " sequences, K/V have " + text(kv.sequences));
        if (q.tokens < 0 || q.tokens > std::numeric_limits<std::int32_t>::max())
            fail(f, "q has " + text(q.tokens) + " tokens, needs at least 0 and fewer than 2^31");
        lengths.assign(static_cast<std::size_t>(std::max<std::int64_t>(q.batch, 0)),
                       static_cast<std::int32_t>(q.tokens));
        return lengths;
    }

    static std::string text(std::int64_t n) { return std::to_string(n); }
    template <class T>
    static std::int64_t size(std::span<T> x) {
        return static_cast<std::int64_t>(x.size());
    }

    template <class T>
    static bool given(const Matrices<T>& m) {
        return m || m.heads != 0 || m.rows != 0 || m.cols != 0;
    }

    void check_numbers() const {
        if (o_.scale && !is_finite(*o_.scale))
            fail(f_, "scale is " + std::to_string(*o_.scale) + ", needs a finite number");
        if (!is_finite(o_.softcap) || o_.softcap < 0)
            fail(f_, "softcap is " + std::to_string(o_.softcap) + ", needs a number >= 0");
        if (o_.window_left < -1) fail(f_, "window_left is " + text(o_.window_left) + ", needs -1 (all) or more");
        if (o_.window_right < -1) fail(f_, "window_right is " + text(o_.window_right) + ", needs -1 (all) or more");
        if (o_.prefix < 0) fail(f_, "prefix is " + text(o_.prefix) + ", needs 0 or more");
    }

    bool has_gate() const {
        const Heads<const float>& g = o_.output_gate;
        return g.data || g.heads != 0 || g.tokens != 0 || g.dim != 0;
    }

    void check_gate(bool is_taken) const {
        const Heads<const float>& g = o_.output_gate;
        if (!is_taken)
            fail(f_, "output_gate is given, needs none: softmax_attention of queries [head, token, dim] takes it");
        if (g.heads != q_.heads || g.tokens != q_.tokens || (g.dim != kv_.v.dim && g.dim != 1))
            fail(f_, "output_gate is " + checks::shape(g.heads, g.tokens, g.dim) + ", needs [" + text(q_.heads) + ", " +
                         text(q_.tokens) + ", " + text(kv_.v.dim) + " or 1]");
        check_memory(f_, "output_gate", g);
        checks::check_pointer(f_, "output_gate", g.data, sizeof(float), g.heads > 0 && g.tokens > 0);
    }

    template <class T>
    void check_array(const std::string& name, std::span<T> x, std::int64_t needed) const {
        if (x.empty()) return;
        if (size(x) != needed) fail(f_, name + " has " + text(size(x)) + " elements, needs " + text(needed));
        if (!x.data()) fail(f_, name + " is null, needs " + text(needed) + " elements");
    }

    /// Of all sequences; without them the engine refuses the call.
    bool has_lengths() const {
        if (kv_.sequences != 1 && !kv_.lengths) return kv_.sequences == 0;
        return q_lengths_.empty() ? kv_.sequences == 1 : q_lengths_.data() && size(q_lengths_) == kv_.sequences;
    }

    template <class F>
    void for_sequences(F&& f) const {
        const bool described = given(o_.mask) || given(o_.bias) || !o_.segment_q.empty() || !o_.segment_k.empty() ||
                               !o_.masks.empty() || !o_.biases.empty() || !o_.segments.empty();
        if (!described) return;
        for (std::int64_t s = 0; s < kv_.sequences; ++s) {
            Sequence x{kv_.sequences == 1 ? -1 : s,
                       q_lengths_.empty() ? q_.tokens : q_lengths_.data()[s],
                       kv_.length(s),
                       {o_.segment_q, o_.segment_k},
                       o_.mask,
                       o_.bias};
            if (!o_.segments.empty()) x.segments = o_.segments.data()[s];
            if (!o_.masks.empty()) x.mask = o_.masks.data()[s];
            if (!o_.biases.empty()) x.bias = o_.biases.data()[s];
            f(x);
        }
    }

    void check_sequences() const {
        check_form("segments", o_.segments, "segment_q and segment_k", !o_.segment_q.empty() || !o_.segment_k.empty());
        check_form("masks", o_.masks, "mask", given(o_.mask));
        check_form("biases", o_.biases, "bias", given(o_.bias));
        for_sequences([this](const Sequence& s) {
            if (!s.segments.query.empty() || !s.segments.key.empty()) {
                check_segments(s.name("segment_q"), s.segments.query, s.queries);
                check_segments(s.name("segment_k"), s.segments.key, s.keys);
            }
            check_matrices(s.name("mask"), s, s.mask, sizeof(bool));
            check_matrices(s.name("bias"), s, s.bias, size_of(s.bias.dtype));
        });
    }

    /// Options of one sequence, or one for each sequence.
    template <class T>
    void check_form(const char* each, std::span<T> per_sequence, const char* one, bool single) const {
        if (single && !per_sequence.empty()) fail(f_, std::string(each) + " and " + one + " are both given, needs one");
        if (single && kv_.sequences != 1)
            fail(f_, std::string(one) + " is for one sequence, the call has " + text(kv_.sequences) +
                         " sequences and needs " + each);
        check_array(each, per_sequence, kv_.sequences);
    }

    void check_segments(const std::string& name, std::span<const std::int64_t> x, std::int64_t needed) const {
        if (x.empty() && needed > 0) fail(f_, name + " is missing, needs " + text(needed) + " elements");
        check_array(name, x, needed);
    }

    template <class T>
    void check_matrices(const std::string& name, const Sequence& s, const Matrices<T>& m, std::int64_t element) const {
        if (!given(m)) return;
        if ((m.heads != 1 && m.heads != q_.heads) || (m.rows != 1 && m.rows != s.queries) || m.cols < 0 ||
            m.cols > s.keys)
            fail(f_, name + " is [" + text(m.heads) + ", " + text(m.rows) + ", " + text(m.cols) + "], needs [1 or " +
                         text(q_.heads) + ", 1 or " + text(s.queries) + ", at most " + text(s.keys) + "]");
        if (m.row_stride < 0 || m.head_stride < 0)
            fail(f_,
                 name + " has strides " + text(m.head_stride) + " and " + text(m.row_stride) + ", needs at least 0");
        if constexpr (std::is_same_v<Matrices<T>, Matrices<const void>>)
            if (!is_dtype(s.bias.dtype)) fail(f_, name + " has no Dtype, needs f32, bf16 or f16");
        checks::check_pointer(f_, name.c_str(), m.data, element, s.queries > 0 && s.keys > 0);
        checks::check_extent(f_, name.c_str(), bytes_of(m, element));
    }

    void add_masks() {
        const Visibility rule{o_.causal, o_.prefix, {o_.window_left, o_.window_right}};
        if (!rule.everything()) r_.masks.push_back(rule);
        if (!o_.segments.empty()) r_.masks.push_back(PerSequence<Documents>{o_.segments.data()});
        if (!o_.segment_q.empty()) r_.masks.push_back(Documents{o_.segment_q, o_.segment_k});
        if (!o_.masks.empty()) r_.masks.push_back(PerSequence<BoolMask, Matrices<const bool>>{o_.masks.data()});
        if (o_.mask) r_.masks.push_back(BoolMask{o_.mask});
        if (o_.visible) r_.masks.push_back(o_.visible);
    }

    void add_edits() {
        if (o_.softcap > 0) r_.edits.push_back(edit(edits::SoftCap{o_.softcap}));
        if (o_.bias || !o_.biases.empty())
            r_.edits.push_back(edit(edits::Bias{o_.bias, o_.biases.empty() ? nullptr : o_.biases.data()}));
        if (!o_.alibi_slopes.empty()) r_.edits.push_back(edit(edits::Alibi{o_.alibi_slopes.data()}));
        r_.edits.append(o_.edits);
    }

    const char* f_;
    const SoftmaxOptions& o_;
    Heads<const float> q_;
    std::span<const std::int32_t> q_lengths_;
    const KvView& kv_;
    attention::Request r_;
};

}  // namespace detail

ATTENTA_INLINE void softmax_attention(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv,
                                      Heads<float> o, const SoftmaxOptions& options, float* lse, Context& context) {
    detail::SoftmaxRequest request("softmax_attention", q, q_lengths, kv, options, {}, true);
    const attention::Plan& plan = attention::plan(request.request(), context);
    attention::check_tensors("softmax_attention", q, kv, &o, lse, request.arrays());
    plan.run(q, kv, o, lse);
}

ATTENTA_INLINE void softmax_attention(Heads<const float> q, const KvView& kv, Heads<float> o,
                                      const SoftmaxOptions& options, float* lse, Context& context) {
    softmax_attention(q, {}, kv, o, options, lse, context);
}

ATTENTA_INLINE void softmax_attention(Heads<const float> q, std::span<const KvView> views, Heads<float> o,
                                      const SoftmaxOptions& options, float* lse, Context& context) {
    const char* f = "softmax_attention";
    if (views.empty()) fail(f, "views are none, needs at least one");
    detail::SoftmaxRequest request(f, q, {}, views[0], options, views.subspan(1), true);
    const attention::Plan& plan = attention::plan(request.request(), context);
    for (const KvView& kv : views) attention::check_tensors(f, q, kv, &o, lse, request.arrays());
    plan.run(q, views[0], views.subspan(1), o, lse);
}

ATTENTA_INLINE void softmax_attention(HeadsBatch<const float> q, const KvView& kv, HeadsBatch<float> o,
                                      const SoftmaxOptions& options, float* lse, Context& context) {
    const char* f = "softmax_attention";
    std::vector<std::int32_t> q_lengths;
    detail::SoftmaxRequest request(f, q, q_lengths, kv, options);
    const attention::Plan& plan = attention::plan(request.request(), context);
    if (o.batch != q.batch)
        fail(f, "o has " + std::to_string(o.batch) + " sequences, q has " + std::to_string(q.batch));
    const Heads<float> out = o.all();
    attention::check_tensors(f, q.all(), kv, &out, lse, request.arrays());
    plan.run(q.first(), kv, o.first(), lse);
}

ATTENTA_INLINE SoftmaxPlan plan_softmax(HeadsBatch<const float> q, const KvView& kv, const SoftmaxOptions& options,
                                        Context& context) {
    std::vector<std::int32_t> q_lengths;
    detail::SoftmaxRequest request("plan_softmax", q, q_lengths, kv, options);
    return SoftmaxPlan(request.request(), context);
}

ATTENTA_INLINE SoftmaxPlan plan_softmax(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv,
                                        const SoftmaxOptions& options, Context& context) {
    return SoftmaxPlan(detail::SoftmaxRequest("plan_softmax", q, q_lengths, kv, options, {}, true).request(), context);
}

ATTENTA_INLINE SoftmaxPlan::SoftmaxPlan(const attention::Request& request, Context& context)
    : plan_(std::make_unique<attention::Plan>(request, context)) {}
ATTENTA_INLINE SoftmaxPlan::SoftmaxPlan() noexcept = default;
ATTENTA_INLINE SoftmaxPlan::SoftmaxPlan(SoftmaxPlan&&) noexcept = default;
ATTENTA_INLINE SoftmaxPlan& SoftmaxPlan::operator=(SoftmaxPlan&&) noexcept = default;
ATTENTA_INLINE SoftmaxPlan::~SoftmaxPlan() = default;

ATTENTA_INLINE void SoftmaxPlan::run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse,
                                     const float* output_gate) const {
    if (!plan_) fail("SoftmaxPlan::run", "the plan is empty, needs one from plan_softmax");
    if (output_gate && !plan_->has_gate())
        fail("SoftmaxPlan::run", "output_gate is given, needs a plan whose options have one");
    plan_->run(q, kv, o, lse, {}, output_gate);
}

ATTENTA_INLINE std::size_t SoftmaxPlan::scratch_bytes() const { return plan_ ? plan_->scratch_bytes() : 0; }

ATTENTA_END
