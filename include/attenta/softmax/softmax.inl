#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/softmax/softmax.hpp>

#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Checks what is softmax's own and writes the call as a request to the tile engine.
class SoftmaxRequest {
public:
    SoftmaxRequest(const char* function, Heads<const float> q, std::span<const std::int32_t> q_lengths,
                   const KvView& kv, const SoftmaxOptions& o)
        : f_(function), o_(o), q_(q), kv_(kv) {
        check_numbers();
        check_arrays();
        r_.function = function;
        r_.q = q;
        r_.q_lengths = q_lengths;
        r_.kv = kv;
        r_.scale = o.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
        r_.q_offset = o.q_offset;
        r_.q_offsets = o.q_offsets;
        r_.sink = o.sink;
        add_masks();
        add_edits();
    }

    tile::Request& request() { return r_; }

private:
    static std::string text(std::int64_t n) { return std::to_string(n); }

    void check_numbers() const {
        if (o_.scale && !is_finite(*o_.scale))
            fail(f_, "scale is " + std::to_string(*o_.scale) + ", needs a finite number");
        if (!is_finite(o_.softcap) || o_.softcap < 0)
            fail(f_, "softcap is " + std::to_string(o_.softcap) + ", needs a number >= 0");
        if (o_.window_left < -1) fail(f_, "window_left is " + text(o_.window_left) + ", needs -1 (all) or more");
        if (o_.window_right < -1) fail(f_, "window_right is " + text(o_.window_right) + ", needs -1 (all) or more");
        if (o_.prefix < 0) fail(f_, "prefix is " + text(o_.prefix) + ", needs 0 or more");
    }

    void check_size(const char* name, std::size_t size, std::int64_t needed) const {
        if (size != 0 && static_cast<std::int64_t>(size) != needed)
            fail(f_, std::string(name) + " has " + text(static_cast<std::int64_t>(size)) + " elements, needs " +
                         text(needed));
    }

    template <class T>
    void check_matrices(const char* name, const Matrices<T>& m) const {
        if (!m) return;
        const std::int64_t keys = kv_.sequences == 1 ? kv_.length(0) : 0;
        if ((m.heads != 1 && m.heads != q_.heads) || m.rows != q_.tokens || m.cols != keys)
            fail(f_, std::string(name) + " is [" + text(m.heads) + ", " + text(m.rows) + ", " + text(m.cols) +
                         "], needs [1 or " + text(q_.heads) + ", " + text(q_.tokens) + ", " + text(keys) + "]");
    }

    void check_arrays() const {
        check_size("alibi_slopes", o_.alibi_slopes.size(), q_.heads);
        check_size("sink", o_.sink.size(), q_.heads);
        const bool single = o_.bias || o_.mask || !o_.segment_q.empty() || !o_.segment_k.empty();
        if (single && kv_.sequences != 1)
            fail(f_,
                 "bias, mask and segments describe one sequence, the call has " + text(kv_.sequences) + " sequences");
        if (o_.segment_q.empty() != o_.segment_k.empty())
            fail(f_, std::string(o_.segment_q.empty() ? "segment_q" : "segment_k") +
                         " is missing, the other segments have " +
                         text(static_cast<std::int64_t>(std::max(o_.segment_q.size(), o_.segment_k.size()))) +
                         " elements");
        check_size("segment_q", o_.segment_q.size(), q_.tokens);
        if (!o_.segment_k.empty()) check_size("segment_k", o_.segment_k.size(), kv_.length(0));
        check_matrices("bias", o_.bias);
        check_matrices("mask", o_.mask);
    }

    void add_masks() {
        const Visibility rule{o_.causal, o_.prefix, {o_.window_left, o_.window_right}};
        if (!rule.everything()) r_.masks.emplace_back(rule);
        if (!o_.segment_q.empty()) r_.masks.emplace_back(Documents{o_.segment_q.data(), o_.segment_k.data()});
        if (o_.mask) r_.masks.emplace_back(BoolMask{o_.mask});
        if (o_.visible) r_.masks.push_back(o_.visible);
    }

    void add_edits() {
        if (o_.softcap > 0) r_.edits.push_back(edit(edits::SoftCap{o_.softcap}));
        if (o_.bias) r_.edits.push_back(edit(edits::Bias{o_.bias}));
        if (!o_.alibi_slopes.empty()) r_.edits.push_back(edit(edits::Alibi{o_.alibi_slopes.data()}));
        r_.edits.insert(r_.edits.end(), o_.edits.begin(), o_.edits.end());
    }

    const char* f_;
    const SoftmaxOptions& o_;
    Heads<const float> q_;
    const KvView& kv_;
    tile::Request r_;
};

}  // namespace detail

ATTENTA_INLINE void softmax_attention(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv,
                                      Heads<float> o, const SoftmaxOptions& options, float* lse, Context& context) {
    const tile::Plan plan(detail::SoftmaxRequest("softmax_attention", q, q_lengths, kv, options).request(), context);
    tile::check_tensors("softmax_attention", q, kv, &o, lse);
    plan.run(q, kv, o, lse);
}

ATTENTA_INLINE void softmax_attention(Heads<const float> q, const KvView& kv, Heads<float> o,
                                      const SoftmaxOptions& options, float* lse, Context& context) {
    softmax_attention(q, {}, kv, o, options, lse, context);
}

ATTENTA_INLINE SoftmaxPlan plan_softmax(Heads<const float> q, std::span<const std::int32_t> q_lengths, const KvView& kv,
                                        const SoftmaxOptions& options, Context& context) {
    return SoftmaxPlan(std::make_unique<tile::Plan>(
        detail::SoftmaxRequest("plan_softmax", q, q_lengths, kv, options).request(), context));
}

ATTENTA_INLINE SoftmaxPlan::SoftmaxPlan(std::unique_ptr<tile::Plan> plan) : plan_(std::move(plan)) {}
ATTENTA_INLINE SoftmaxPlan::SoftmaxPlan(SoftmaxPlan&&) noexcept = default;
ATTENTA_INLINE SoftmaxPlan& SoftmaxPlan::operator=(SoftmaxPlan&&) noexcept = default;
ATTENTA_INLINE SoftmaxPlan::~SoftmaxPlan() = default;

ATTENTA_INLINE void SoftmaxPlan::run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse) const {
    plan_->run(q, kv, o, lse);
}

ATTENTA_INLINE std::size_t SoftmaxPlan::scratch_bytes() const { return plan_->scratch_bytes(); }

ATTENTA_END
