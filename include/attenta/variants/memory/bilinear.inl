#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/variants/memory/bilinear.hpp>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void fold_bilinear(const Heads<const float>& q, const Matrices<const float>& w_a, SoftmaxCall& call,
                                  std::vector<float>& memory) {
    if (!w_a) return;
    memory.resize(static_cast<std::size_t>(q.heads * q.tokens * w_a.cols));
    const Heads<float> folded = hnd(memory.data(), q.heads, q.tokens, w_a.cols);
    dense::multiply(dense::matrices_of(q), w_a, dense::matrices_of(folded), {}, *call.context);
    call.request.q = folded;
}

}  // namespace detail

ATTENTA_END
