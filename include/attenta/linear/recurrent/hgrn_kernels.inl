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

    struct Token {
        const float *v, *g;
        float* o;
    };
    Token at(std::int64_t t) const { return {block_.in(0, t), block_.in(1, t), block_.out(t)}; }

    template <class Lanes>
    ATTENTA_ALWAYS_INLINE void step(const Token& token, const Lanes& lanes) const {
        constexpr float closed = -104;  // exp is 0 as a float, and 1 - exp is 1
        float* const state = block_.kept(0);
        const B g = simd::max<Arch>(B(closed), lanes.load(token.g)), decay = simd::exp_nonpositive<Arch>(g);
        B input = lanes.load(token.v);
        if (tied_) input = -simd::expm1_nonpositive<Arch>(g) * input;
        const B next = simd::fma<Arch>(decay, lanes.get(state), input);
        lanes.put(state, next);
        lanes.store(token.o, next);
    }

private:
    const elementwise::Block& block_;
    const bool tied_;
};

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(elementwise::TaskFunction, hgrn_task,
                      &elementwise::run_recurrence<simd::NativeArch, kernels::HgrnRule>)

}  // namespace detail

ATTENTA_END
