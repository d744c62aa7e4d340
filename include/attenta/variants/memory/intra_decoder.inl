#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/variants/memory/intra_decoder.hpp>

#include <vector>

ATTENTA_BEGIN

namespace detail {

struct IntraDecoderMemory {
    std::vector<float> q;
};

}  // namespace detail

ATTENTA_INLINE void intra_decoder(const IntraDecoderInputs& x, const WeightedOutputs& out,
                                  const IntraDecoderOptions& options, Context& context) {
    VisibleKeys visibility;
    visibility.causal = true;
    visibility.q_offset = options.q_offset;
    detail::SoftmaxCall call = detail::check_bilinear("intra_decoder", x, out, options.scale, visibility, context);
    // A query does not see its own position: it sees what a causal one at the position before does.
    call.request.q_offset = call.first_position() - 1;
    attention::check(call.request);
    detail::CallMemory<detail::IntraDecoderMemory> memory(x.q.tokens, context);
    detail::fold_bilinear(x.q, x.w_a, call, memory->q);
    call.run();
}

ATTENTA_END
