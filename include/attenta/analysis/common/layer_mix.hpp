// Attention of a layer with its residual connection: rownorm((1 − r) A + r I).
#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/analysis/kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

/// Of `count` matrices [tokens, tokens]; may be in place.
inline void mix_with_identity(const float* x, std::int64_t count, std::int64_t tokens, float residual, float* to,
                              Context& context) {
    const MixIdentity mix = mix_identity();
    constexpr std::int64_t of_task = 64;
    for_pieces(context, count * tokens, of_task, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) mix(x + r * tokens, tokens, r % tokens, residual, to + r * tokens);
    });
}

}  // namespace analysis

ATTENTA_END
