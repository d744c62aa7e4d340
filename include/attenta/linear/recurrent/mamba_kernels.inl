#pragma once

#include <attenta/engine/elementwise/loop.hpp>
#include <attenta/linear/recurrent/mamba_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
class MambaRule {
    using B = simd::Batch<Arch>;

public:
    explicit MambaRule(const elementwise::Block& block)
        : block_(block),
          p_(*static_cast<const MambaTask*>(block.job.r.parameters)),
          states_(p_.states()),
          group_(block.head / (block.job.o.heads / p_.B.heads)),
          A_(block.own(0)),
          inverse_(block.own(states_)),
          skip_(block.own(p_.rows() - 2)),
          bias_(block.own(p_.rows() - 1)),
          gated_(block.has(2)) {
        elementwise::take_columns<Arch>(block, p_.A.row(block.head, block.first), p_.A.token_stride, states_, A_);
        for (std::int64_t i = 0; p_.zoh && i < states_ * block.stride; ++i) inverse_[i] = A_[i] < 0 ? 1 / A_[i] : 0;
        const auto constants = [&](const Heads<const float>& x) {
            return x.data ? x.row(block.head, 0) + block.first : nullptr;
        };
        block.copy(constants(p_.D), skip_);
        block.copy(constants(p_.dt_bias), bias_);
    }

    struct Token {
        const float *x, *dt, *z, *B, *C;
        float* o;
    };
    Token at(std::int64_t t) const {
        return {block_.in(0, t),     block_.in(1, t),     gated_ ? block_.in(2, t) : nullptr,
                p_.B.row(group_, t), p_.C.row(group_, t), block_.out(t)};
    }

    template <class Lanes>
    ATTENTA_ALWAYS_INLINE void step(const Token& token, const Lanes& lanes) const {
        const B x = lanes.load(token.x);
        B dt = lanes.load(token.dt) + lanes.get(bias_);
        if (p_.softplus) dt = simd::softplus<Arch>(dt);
        B sum = p_.zoh ? hold(token, lanes, dt, x) : euler(token, lanes, dt, x);
        if (p_.D.data) sum = simd::fma<Arch>(lanes.get(skip_), x, sum);
        if (gated_) sum = sum * simd::silu<Arch>(lanes.load(token.z));
        lanes.store(token.o, sum);
    }

private:
    /// The output of the states, which take up the token.
    template <class Lanes>
    ATTENTA_ALWAYS_INLINE B euler(const Token& token, const Lanes& lanes, B dt, B x) const {
        const std::int64_t stride = block_.stride;
        const B input = dt * x;
        float* state = block_.kept(0);
        const float* A = A_;
        B sum(0.f);
        for (std::int64_t n = 0; n < states_; ++n, state += stride, A += stride) {
            const B decay = simd::exp_nonpositive<Arch>(dt * lanes.get(A)),
                    next = simd::fma<Arch>(decay, lanes.get(state), input * B(token.B[n]));
            lanes.put(state, next);
            sum = simd::fma<Arch>(next, B(token.C[n]), sum);
        }
        return sum;
    }

    template <class Lanes>
    ATTENTA_ALWAYS_INLINE B hold(const Token& token, const Lanes& lanes, B dt, B x) const {
        constexpr float closed = -104, no_decay = -1e-7f;  // exp is 0 as a float; 1 within rounding
        const std::int64_t stride = block_.stride;
        float* state = block_.kept(0);
        const float *A = A_, *inverse = inverse_;
        B sum(0.f);
        for (std::int64_t n = 0; n < states_; ++n, state += stride, A += stride, inverse += stride) {
            const B exponent = simd::max<Arch>(B(closed), dt * lanes.get(A)),
                    held = simd::expm1_nonpositive<Arch>(exponent) * lanes.get(inverse),
                    factor = xsimd::select(exponent > B(no_decay), dt, held),
                    next = simd::fma<Arch>(simd::exp_nonpositive<Arch>(exponent), lanes.get(state),
                                           factor * x * B(token.B[n]));
            lanes.put(state, next);
            sum = simd::fma<Arch>(next, B(token.C[n]), sum);
        }
        return sum;
    }

    const elementwise::Block& block_;
    const MambaTask& p_;
    const std::int64_t states_, group_;
    float *const A_, *const inverse_, *const skip_, *const bias_;
    const bool gated_;
};

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, mamba_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::MambaRule>)

}  // namespace detail

ATTENTA_END
