// States between the chunks of a round, which are worked on side by side. See Pass in engine/scan/job.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

template <class Base>
class ChunkParallel : public Base {
protected:
    using Base::Base;
    using Base::L, Base::W, Base::state_panel, Base::load_state, Base::store_state, Base::job_, Base::task_, Base::r_,
        Base::first_head_, Base::head_, Base::panels_, Base::dim_, Base::x_;
    using typename Base::Arch, typename Base::Batch;

    /// Before chunk i.
    ChunkState chunk_state(std::int64_t i) const {
        return {job_.chunk_states + ((i - job_.round_begin) * job_.state_heads + head_) * job_.chunk_state_floats,
                job_};
    }

    /// Some channels of the round's states, from what its chunks add.
    void prefix_states() {
        const std::int64_t begin = task_.channel_begin, end = task_.channel_end, lanes_end = round_up(end, L);
        head_ = first_head_;
        x_.state = chunk_state(job_.round_begin).state;
        load_state(begin, end);
        float* const z = r_.normalizer ? job_.state->normalizer.data() + head_ * dim_ : nullptr;
        if (z) {
            float* const first = chunk_state(job_.round_begin).z;
            std::copy(z + begin, z + end, first + begin);
            std::fill(first + end, first + lanes_end, 0.f);
        }
        for (std::int64_t i = job_.round_begin; i < job_.round_end; ++i) {
            const ChunkState now = chunk_state(i), next = chunk_state(i + 1);
            for (std::int64_t p = 0; p < panels_; ++p) {
                const std::int64_t panel = state_panel(p) - x_.state;
                for (std::int64_t d = begin; d < end; ++d)
                    for (std::int64_t c = panel + d * W; c < panel + (d + 1) * W; c += L)
                        advance(Batch(next.decay[d]), now.state + c, next.state + c);
            }
            for (std::int64_t d = begin; z && d < lanes_end; d += L)
                advance(simd::load<Arch>(next.decay + d), now.z + d, next.z + d);
            x_.state = next.state;
        }
        store_state(begin, end);
        if (z) std::copy(chunk_state(job_.round_end).z + begin, chunk_state(job_.round_end).z + end, z + begin);
    }

private:
    /// next += decay · now
    static void advance(Batch decay, const float* now, float* next) {
        simd::fma<Arch>(decay, simd::load<Arch>(now), simd::load<Arch>(next)).store_unaligned(next);
    }
};

}  // namespace scan

ATTENTA_END
