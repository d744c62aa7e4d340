#pragma once

#include <attenta/engine/elementwise/loop.hpp>
#include <attenta/linear/recurrent/hgrn_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
class HgrnRule {
    using B = simd::Batch<Arch>;

public:
    explicit HgrnRule(const elementwise::Block& block)
        : block_(block), tied_(static_cast<const HgrnTask*>(block.job.r.parameters)->tied) {}

    void step(std::int64_t t) const {
        if (tied_)
            advance<true>(t);
        else
            advance<false>(t);
    }

private:
    template <bool tied>
    ATTENTA_ALWAYS_INLINE void advance(std::int64_t t) const {
        constexpr float closed = -104;  // exp is 0 as a float, and 1 - exp is 1
        const float *const values = block_.in(0, t), *const gates = block_.in(1, t);
        float *const state = block_.kept(0), *const o = block_.out(t);
        elementwise::for_each_vector<Arch>(block_, [&](auto lanes) ATTENTA_FLATTEN {
            B g = lanes.load(gates), input = lanes.load(values);
            if constexpr (tied) {
                g = simd::max<Arch>(B(closed), g);
                input = -simd::expm1_nonpositive<Arch>(g) * input;
            }
            const B next = simd::fma<Arch>(simd::exp_nonpositive<Arch>(g), lanes.get(state), input);
            lanes.put(state, next);
            lanes.store(o, next);
        });
    }

    const elementwise::Block& block_;
    const bool tied_;
};

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, hgrn_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::HgrnRule>)

}  // namespace detail

ATTENTA_END
