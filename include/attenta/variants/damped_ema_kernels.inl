#pragma once

#include <attenta/engine/elementwise/loop.hpp>
#include <attenta/variants/damped_ema_kernels.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
class DampedEmaRule {
    using B = simd::Batch<Arch>;

public:
    explicit DampedEmaRule(const elementwise::Block& block)
        : block_(block),
          p_(*static_cast<const DampedEmaTask*>(block.job.r.parameters)),
          states_(p_.states()),
          lost_(block.own(0)),
          taken_(block.own(states_)),
          given_(block.own(2 * states_)),
          omega_(block.own(4 * states_)),
          adds_(block.has(1)) {
        float* const alpha = block.own(3 * states_);
        const auto take = [&](const Matrices<const float>& x, float* to) {
            elementwise::take_columns<Arch>(block, x.row(0, block.first), x.row_stride, states_, to);
        };
        take(p_.delta, lost_);
        take(p_.alpha, alpha);
        take(p_.beta, taken_);
        take(p_.gamma, given_);
        const B share(std::sqrt(1.f / static_cast<float>(states_)));
        for (std::int64_t i = 0; i < states_ * block.stride; i += simd::lanes<Arch>) {
            const B p = simd::sigmoid<Arch>(simd::load<Arch>(lost_ + i));
            (p * simd::load<Arch>(taken_ + i)).store_unaligned(taken_ + i);
            (p * simd::sigmoid<Arch>(simd::load<Arch>(alpha + i))).store_unaligned(lost_ + i);
            (share * simd::load<Arch>(given_ + i)).store_unaligned(given_ + i);
        }
        block.copy(p_.omega ? p_.omega + block.first : nullptr, omega_);
    }

    void step(std::int64_t t) const {
        const std::int64_t stride = block_.stride;
        const float *const tokens = block_.in(0, t), *const sums = adds_ ? block_.in(1, t) : nullptr;
        float* const o = block_.out(t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            const B x = lanes.load(tokens);
            B y = adds_ ? lanes.load(sums) : B(0.f);
            if (p_.omega) y = simd::fma<Arch>(lanes.get(omega_), x, y);
            float* state = block_.kept(0);
            const float *lost = lost_, *taken = taken_, *given = given_;
            for (std::int64_t n = 0; n < states_; ++n) {
                // 1 − lost would round away what a slow decay loses.
                const B h = lanes.get(state), left = simd::fma<Arch>(-lanes.get(lost), h, h),
                        next = simd::fma<Arch>(lanes.get(taken), x, left);
                lanes.put(state, next);
                y = simd::fma<Arch>(lanes.get(given), next, y);
                state += stride, lost += stride, taken += stride, given += stride;
            }
            lanes.store(o, p_.silu ? simd::silu<Arch>(y) : y);
        });
    }

private:
    const elementwise::Block& block_;
    const DampedEmaTask& p_;
    const std::int64_t states_;
    float *const lost_, *const taken_, *const given_, *const omega_;
    const bool adds_;
};

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, damped_ema_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::DampedEmaRule>)

}  // namespace detail

ATTENTA_END
