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
          skip_(block.own(p_.rows() - 5)),
          bias_(block.own(p_.rows() - 4)),
          steps_(block.own(p_.rows() - 3)),
          inputs_(block.own(p_.rows() - 2)),
          sums_(block.own(p_.rows() - 1)),
          gated_(block.has(2)) {
        elementwise::take_columns<Arch>(block, p_.A.row(block.head, block.first), p_.A.token_stride, states_, A_);
        constexpr float log2e = 1.44269504f;
        for (std::int64_t i = 0; i < states_ * block.stride; ++i) {
            if (p_.zoh)
                inverse_[i] = A_[i] < 0 ? 1 / A_[i] : 0;
            else
                A_[i] *= log2e;
        }
        const auto constants = [&](const Heads<const float>& x) {
            return x.data ? x.row(block.head, 0) + block.first : nullptr;
        };
        block.copy(constants(p_.D), skip_);
        block.copy(constants(p_.dt_bias), bias_);
    }

    void step(std::int64_t t) const {
        begin(block_.in(0, t), block_.in(1, t));
        const float *const to_state = p_.B.row(group_, t), *const to_output = p_.C.row(group_, t);
        for (std::int64_t n = 0; n < states_; ++n) {
            if (p_.zoh)
                hold(n, B(to_state[n]), B(to_output[n]));
            else
                euler(n, B(to_state[n]), B(to_output[n]));
        }
        finish(t);
    }

private:
    /// Steps, inputs and the skip of a token: with the states one after the other no vector waits for its own sum.
    void begin(const float* x, const float* dt) const {
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B input = lanes.load(x);
            B step = lanes.load(dt) + lanes.get(bias_);
            if (p_.softplus) step = simd::softplus<Arch>(step);
            lanes.put(steps_, step);
            lanes.put(inputs_, p_.zoh ? input : step * input);
            lanes.put(sums_, p_.D.data ? lanes.get(skip_) * input : B(0.f));
        });
    }

    /// State n takes up the token and adds to the output.
    void euler(std::int64_t n, B to_state, B to_output) const {
        float* const state = block_.kept(n);
        const float* const A = A_ + n * block_.stride;
        elementwise::for_each_vector_of_scratch<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B decay = simd::exp2_nonpositive<Arch>(lanes.get(steps_) * lanes.get(A)),
                    next = simd::fma<Arch>(decay, lanes.get(state), lanes.get(inputs_) * to_state);
            lanes.put(state, next);
            lanes.put(sums_, simd::fma<Arch>(next, to_output, lanes.get(sums_)));
        });
    }
    void hold(std::int64_t n, B to_state, B to_output) const {
        constexpr float closed = -104, no_decay = -1e-7f;  // exp is 0 as a float; 1 within rounding
        float* const state = block_.kept(n);
        const float *const A = A_ + n * block_.stride, *const inverse = inverse_ + n * block_.stride;
        elementwise::for_each_vector_of_scratch<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B dt = lanes.get(steps_), exponent = simd::max<Arch>(B(closed), dt * lanes.get(A)),
                    held = simd::expm1_nonpositive<Arch>(exponent) * lanes.get(inverse),
                    factor = xsimd::select(exponent > B(no_decay), dt, held),
                    next = simd::fma<Arch>(simd::exp_nonpositive<Arch>(exponent), lanes.get(state),
                                           factor * lanes.get(inputs_) * to_state);
            lanes.put(state, next);
            lanes.put(sums_, simd::fma<Arch>(next, to_output, lanes.get(sums_)));
        });
    }

    void finish(std::int64_t t) const {
        const float* const gates = gated_ ? block_.in(2, t) : nullptr;
        float* const o = block_.out(t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B sum = lanes.get(sums_);
            lanes.store(o, gates ? sum * simd::silu<Arch>(lanes.load(gates)) : sum);
        });
    }

    const elementwise::Block& block_;
    const MambaTask& p_;
    const std::int64_t states_, group_;
    float *const A_, *const inverse_, *const skip_, *const bias_, *const steps_, *const inputs_, *const sums_;
    const bool gated_;
};

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, mamba_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::MambaRule>)

}  // namespace detail

ATTENTA_END
