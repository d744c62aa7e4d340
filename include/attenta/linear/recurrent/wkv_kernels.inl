#pragma once

#include <attenta/engine/elementwise/loop.hpp>
#include <attenta/linear/recurrent/wkv_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// Σ e^l v / e^m and Σ e^l / e^m, m the largest l.
template <class Arch>
struct WeightedSum {
    using B = simd::Batch<Arch>;
    B a, b, m;

    /// From three rows of scratch, the next `stride` floats behind the last.
    template <class Lanes>
    static ATTENTA_ALWAYS_INLINE WeightedSum get(const Lanes& lanes, const float* rows, std::int64_t stride) {
        return {lanes.get(rows), lanes.get(rows + stride), lanes.get(rows + 2 * stride)};
    }
    template <class Lanes>
    ATTENTA_ALWAYS_INLINE void put(const Lanes& lanes, float* rows, std::int64_t stride) const {
        lanes.put(rows, a);
        lanes.put(rows + stride, b);
        lanes.put(rows + 2 * stride, m);
    }
    ATTENTA_ALWAYS_INLINE WeightedSum scaled(B log) const { return {a, b, m + log}; }
    ATTENTA_ALWAYS_INLINE B mean() const { return simd::divide<Arch>(a, b); }

    /// With the term e^l v, at the larger of the two scales. NaN in a scale makes all of it NaN.
    ATTENTA_ALWAYS_INLINE WeightedSum with(B l, B v) const {
        const B ahead = m - l, less = simd::exp_nonpositive<Arch>(-xsimd::abs(ahead));
        const auto first = ahead >= B(0.f);
        return {simd::fma<Arch>(less, xsimd::select(first, v, a), xsimd::select(first, a, v)),
                simd::fma<Arch>(less, xsimd::select(first, B(1.f), b), xsimd::select(first, b, B(1.f))),
                xsimd::select(ahead == ahead, xsimd::select(first, m, l), ahead)};
    }
    /// The mean with the terms of `y` and e^l v. Three exponentials side by side take less time than two in a chain.
    ATTENTA_ALWAYS_INLINE B mean_with(const WeightedSum& y, B l, B v) const {
        const B top = simd::max<Arch>(simd::max<Arch>(m, y.m), l), own = simd::exp_nonpositive<Arch>(m - top),
                other = simd::exp_nonpositive<Arch>(y.m - top), term = simd::exp_nonpositive<Arch>(l - top);
        return simd::divide<Arch>(simd::fma<Arch>(own, a, simd::fma<Arch>(other, y.a, term * v)),
                                  simd::fma<Arch>(own, b, simd::fma<Arch>(other, y.b, term)));
    }
};

template <class Arch>
class Rwkv4Rule {
    using B = simd::Batch<Arch>;
    using Sum = WeightedSum<Arch>;

public:
    explicit Rwkv4Rule(const elementwise::Block& block)
        : block_(block), g_(block.own(0)), u_(block.own(1)), gated_(block.has(2)) {
        const auto& p = *static_cast<const Rwkv4Task*>(block.job.r.parameters);
        block.copy(p.g.row(block.head, 0) + block.first, g_);
        block.copy(p.u.row(block.head, 0) + block.first, u_);
        // Scales below that would overflow.
        for (std::int64_t c = 0; c < block.width; ++c) g_[c] = g_[c] < wkv_no_terms ? wkv_no_terms : g_[c];
    }

    void step(std::int64_t t) const {
        const float *const keys = block_.in(0, t), *const values = block_.in(1, t),
                           *const gates = gated_ ? block_.in(2, t) : nullptr;
        float *const state = block_.kept(0), *const out = block_.out(t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const Sum past = Sum::get(lanes, state, block_.stride);
            const B k = lanes.load(keys), v = lanes.load(values);
            B o = past.with(lanes.get(u_) + k, v).mean();
            if (gates) o = o * simd::sigmoid<Arch>(lanes.load(gates));
            past.scaled(lanes.get(g_)).with(k, v).put(lanes, state, block_.stride);
            lanes.store(out, o);
        });
    }

private:
    const elementwise::Block& block_;
    float *const g_, *const u_;
    const bool gated_;
};

/// The same over tokens that decay: the scale is that of a key and of how many tokens have passed since, because a scale
/// that is decayed token by token would sum up its roundings.
template <class Arch>
struct AgedSum {
    using B = simd::Batch<Arch>;
    B a, b, key, age;

    static constexpr std::int64_t rows = BiWkvTask::sum_rows;

    template <class Lanes>
    static ATTENTA_ALWAYS_INLINE AgedSum get(const Lanes& lanes, const float* at, std::int64_t stride) {
        return {lanes.get(at), lanes.get(at + stride), lanes.get(at + 2 * stride), lanes.get(at + 3 * stride)};
    }
    template <class Lanes>
    ATTENTA_ALWAYS_INLINE void put(const Lanes& lanes, float* at, std::int64_t stride) const {
        lanes.put(at, a);
        lanes.put(at + stride, b);
        lanes.put(at + 2 * stride, key);
        lanes.put(at + 3 * stride, age);
    }
    /// When `more` tokens have passed.
    ATTENTA_ALWAYS_INLINE WeightedSum<Arch> after(B more, B decay) const {
        return {a, b, simd::fma<Arch>(age + more, decay, key)};
    }
    /// One token further, with that token.
    ATTENTA_ALWAYS_INLINE AgedSum next(B decay, B k, B v) const {
        const WeightedSum<Arch> sum = after(B(1.f), decay).with(k, v);
        const auto is_new = sum.m == k;
        return {sum.a, sum.b, xsimd::select(is_new, k, key), xsimd::select(is_new, B(0.f), age + B(1.f))};
    }
};

/// Passes over a block, each from right to left and back. Values stand in o from the first pass on.
template <class Arch>
class BiWkv {
    using B = simd::Batch<Arch>;
    using Sum = AgedSum<Arch>;

public:
    static constexpr std::int64_t segment = BiWkvTask::segment;

    BiWkv(const elementwise::Job& job, std::int64_t index, std::byte* scratch)
        : block_(job, index, scratch),
          p_(*static_cast<const BiWkvTask*>(job.r.parameters)),
          w_(block_.own(0)),
          u_(block_.own(1)),
          alpha_(block_.own(2)),
          left_(block_.own(4)),
          right_(block_.own(4 + Sum::rows)),
          held_(block_.own(BiWkvTask::scratch_rows)),
          ends_(block_.own(BiWkvTask::scratch_rows + Sum::rows * segment)),
          gated_(block_.has(2)),
          guided_(block_.has(3)) {
        for (std::int64_t i = 0; i < 2; ++i)
            block_.copy(guided_ ? p_.alpha.row(i, block_.head) + block_.first : nullptr, alpha_ + i * block_.stride);
    }

    void begin_pass(std::int64_t pass) {
        pass_ = pass;
        block_.copy(p_.w.row(pass_, block_.head) + block_.first, w_);
        block_.copy(p_.u.row(pass_, block_.head) + block_.first, u_);
        for (std::int64_t c = 0; c < block_.width; ++c) w_[c] *= -p_.w_factor, u_[c] *= p_.u_factor;
        for (float* sum : {left_, right_}) {
            std::fill_n(sum, Sum::rows * block_.stride, 0.f);
            std::fill_n(sum + 2 * block_.stride, block_.stride, wkv_no_terms);
        }
    }

    /// Sums of what stands behind each segment, from the last segment to the first. The first pass fetches the values.
    void from_right(std::int64_t s) const {
        prefetch(s - 1);
        std::copy_n(right_, Sum::rows * block_.stride, end_row(s));
        for (std::int64_t i = end_of(s); i-- > first_of(s);) {
            const std::int64_t t = token(i);
            if (pass_ == 0) fetch_values(t);
            add_token(t, right_, right_);
        }
    }
    /// Both sums meet at each token of a segment: those from the right are made again, backwards, and held.
    void from_left(std::int64_t s) const {
        prefetch(s + 1);
        const std::int64_t first = first_of(s), end = end_of(s);
        const auto held = [&](std::int64_t i) { return held_ + Sum::rows * (i - first) * block_.stride; };
        std::copy_n(end_row(s), Sum::rows * block_.stride, held(end - 1));
        for (std::int64_t i = end - 1; i > first; --i) add_token(token(i), held(i), held(i - 1));
        for (std::int64_t i = first; i < end; ++i) meet(token(i), held(i));
    }

private:
    /// The token that is the i-th of the pass.
    std::int64_t token(std::int64_t i) const { return pass_ % 2 == 0 ? i : i % p_.rows * p_.columns + i / p_.rows; }
    std::int64_t first_of(std::int64_t s) const { return s * segment; }
    std::int64_t end_of(std::int64_t s) const { return std::min((s + 1) * segment, block_.end); }
    float* end_row(std::int64_t s) const { return ends_ + Sum::rows * s * block_.stride; }
    void prefetch(std::int64_t s) const {
        for (std::int64_t i = std::max<std::int64_t>(first_of(s), 0); i < end_of(s); ++i) block_.prefetch(token(i));
    }

    void fetch_values(std::int64_t t) const {
        const float *const values = block_.in(1, t), *const residual = guided_ ? block_.in(3, t) : nullptr;
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            B v = lanes.load(values);
            if (residual) v = simd::fma<Arch>(lanes.load(residual), lanes.get(alpha_), v);
            lanes.store(block_.out(t), v);
        });
    }
    /// Sums that are one token further.
    void add_token(std::int64_t t, const float* sums, float* to) const {
        const float *const keys = block_.in(0, t), *const values = block_.out(t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            Sum::get(lanes, sums, block_.stride)
                .next(lanes.get(w_), lanes.load(keys), lanes.load(values))
                .put(lanes, to, block_.stride);
        });
    }

    void meet(std::int64_t t, const float* right) const {
        const float* const keys = block_.in(0, t);
        float* const out = block_.out(t);
        const bool last = pass_ + 1 == p_.w.heads;
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B k = lanes.load(keys), v = lanes.load(out), decay = lanes.get(w_), lead(p_.apart ? 0.f : 1.f);
            const Sum left = Sum::get(lanes, left_, block_.stride);
            const B o = left.after(lead, decay)
                            .mean_with(Sum::get(lanes, right, block_.stride).after(lead, decay), k + lanes.get(u_), v);
            left.next(decay, k, v).put(lanes, left_, block_.stride);
            lanes.store(out, last ? finished(lanes, t, o) : o);
        });
    }
    template <class Lanes>
    ATTENTA_ALWAYS_INLINE B finished(const Lanes& lanes, std::int64_t t, B o) const {
        if (guided_) {
            const B guide = lanes.load(block_.in(3, t)) - lanes.load(block_.in(1, t));
            o = simd::fma<Arch>(guide, lanes.get(alpha_ + block_.stride), o);
        }
        return gated_ ? o * simd::sigmoid<Arch>(lanes.load(block_.in(2, t))) : o;
    }

    const elementwise::Block block_;
    const BiWkvTask& p_;
    float *const w_, *const u_, *const alpha_, *const left_, *const right_, *const held_, *const ends_;
    const bool gated_, guided_;
    std::int64_t pass_ = 0;
};

template <class Arch>
void bi_wkv(const elementwise::Job& job, const elementwise::Task& task, std::byte* scratch) {
    const std::int64_t passes = static_cast<const BiWkvTask*>(job.r.parameters)->w.heads;
    elementwise::for_neighbours<BiWkv<Arch>>(job, task, scratch, [&](auto blocks, std::int64_t tokens) {
        const std::int64_t segments = ceil_div(tokens, BiWkv<Arch>::segment);
        for (std::int64_t pass = 0; pass < passes; ++pass) {
            for (auto& block : blocks) block->begin_pass(pass);
            for (std::int64_t s = segments; s-- > 0;)
                for (const auto& block : blocks) block->from_right(s);
            for (std::int64_t s = 0; s < segments; ++s)
                for (const auto& block : blocks) block->from_left(s);
        }
    });
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, rwkv4_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::Rwkv4Rule>)
ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, bi_wkv_task, &kernels::bi_wkv<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
