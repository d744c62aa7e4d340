#pragma once

#include <attenta/engine/elementwise/loop.hpp>
#include <attenta/linear/recurrent/causal_conv_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// The inputs of a block, those of the state in front.
class ConvWindow {
public:
    ConvWindow(const elementwise::Block& block, std::int64_t kept) : block_(block), kept_(kept) {}

    /// Input i, of which the first ones are the state's.
    const float* row(std::int64_t i) const {
        return i < kept_ ? block_.state + i * block_.state_stride : block_.in(0, block_.begin + i - kept_);
    }
    /// Row j of `to` becomes input n + j. In place, because a row comes from one that is not behind it.
    void copy_from(std::int64_t n, float* to) const {
        for (std::int64_t j = 0; j < kept_; ++j)
            if (const float* const from = row(n + j); from != to + j * block_.state_stride)
                std::copy_n(from, block_.width, to + j * block_.state_stride);
    }

private:
    const elementwise::Block& block_;
    const std::int64_t kept_;
};

template <class Arch>
class CausalConv {
    using B = simd::Batch<Arch>;

public:
    explicit CausalConv(const elementwise::Block& block)
        : block_(block),
          p_(*static_cast<const CausalConvTask*>(block.job.r.parameters)),
          taps_(p_.taps()),
          weight_(block.own(0)),
          bias_(block.own(taps_)),
          window_(block, taps_ - 1) {
        elementwise::take_columns<Arch>(block, p_.weight.row(block.head, block.first), p_.weight.token_stride, taps_,
                                        weight_);
        block.copy(p_.bias.data ? p_.bias.row(block.head, 0) + block.first : nullptr, bias_);
    }

    void run() const {
        const std::int64_t kept = taps_ - 1, tokens = block_.end - block_.begin;
        for (std::int64_t t = 0; t < tokens; ++t) {
            block_.prefetch(block_.begin + t + elementwise::tokens_ahead);
            if (t < kept)
                token(t, [&](const auto& lanes) ATTENTA_FLATTEN { return sum(lanes, t); });
            else if (taps_ == 4)
                token(t, [&](const auto& lanes) ATTENTA_FLATTEN { return few_taps<4>(lanes, t); });
            else if (taps_ == 3)
                token(t, [&](const auto& lanes) ATTENTA_FLATTEN { return few_taps<3>(lanes, t); });
            else
                token(t, [&](const auto& lanes) ATTENTA_FLATTEN { return sum(lanes, t); });
        }
        if (kept == 0) return;
        const std::int64_t state_floats = block_.job.o.heads * kept * block_.state_stride;
        for (std::size_t i = 0; i < p_.at.size(); ++i)
            window_.copy_from(p_.at[i], p_.state_at + static_cast<std::int64_t>(i) * state_floats +
                                            block_.head * kept * block_.state_stride + block_.first);
        window_.copy_from(tokens, block_.state);
    }

private:
    template <class Sum>
    ATTENTA_ALWAYS_INLINE void token(std::int64_t t, Sum&& taps) const {
        const float* const x = window_.row(taps_ - 1 + t);
        float* const o = block_.out(block_.begin + t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            B y = taps(lanes);
            if (p_.silu) y = simd::silu<Arch>(y);
            if (p_.residual) y = y + lanes.load(x);
            lanes.store(o, y);
        });
    }

    template <class Lanes>
    ATTENTA_ALWAYS_INLINE B sum(const Lanes& lanes, std::int64_t t) const {
        B y = lanes.get(bias_);
        for (std::int64_t n = 0; n < taps_; ++n)
            y = simd::fma<Arch>(lanes.get(weight_ + n * block_.stride), lanes.load(window_.row(t + n)), y);
        return y;
    }
    /// The same, of tokens alone.
    template <int Taps, class Lanes>
    ATTENTA_ALWAYS_INLINE B few_taps(const Lanes& lanes, std::int64_t t) const {
        const float* const first = window_.row(t + Taps - 1);
        const std::int64_t stride = block_.job.r.rows[0].token_stride;
        B y = lanes.get(bias_);
        simd::unrolled<Taps>([&](auto n) ATTENTA_FLATTEN {
            y = simd::fma<Arch>(lanes.get(weight_ + n * block_.stride), lanes.load(first - (Taps - 1 - n) * stride), y);
        });
        return y;
    }

    const elementwise::Block& block_;
    const CausalConvTask& p_;
    const std::int64_t taps_;
    float *const weight_, *const bias_;
    const ConvWindow window_;
};

template <class Arch>
void causal_conv(const elementwise::Job& job, const elementwise::Task& task, std::byte* scratch) {
    elementwise::for_neighbours<elementwise::Block>(job, task, scratch, [](auto blocks, std::int64_t) {
        for (const auto& block : blocks) CausalConv<Arch>(*block).run();
    });
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, causal_conv_task, &kernels::causal_conv<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
