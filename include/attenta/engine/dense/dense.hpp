// Batched products of small matrices: projections, landmarks, folded weights. The loops over queries × keys are elsewhere
// (engine/attention); here everything is a matrix of numbers that somebody keeps.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace dense {

struct ProductOptions {
    bool a_transposed = false, b_transposed = false;
    float alpha = 1;
    bool add = false;  ///< to what C holds
};

/// C[h] = alpha · A[h] B[h], with A [M, K], B [K, N], C [M, N], a transposed one stored as [K, M] or [N, K]. The heads of A and
/// of B divide those of C: head h reads head h / (C's heads / its heads). Rows may lie at any stride. What K leaves is
/// summed in single precision, the same to the bit for any threads; K = 0 gives zeros.
/// Throws Error on shapes that do not fit, null data and a C that shares memory with A or B; nothing is written then.
void multiply(Matrices<const float> a, Matrices<const float> b, Matrices<float> c, const ProductOptions& options = {},
              Context& context = default_context());

/// Rows and columns of C that are complete.
struct ProductBlock {
    std::int64_t head = 0, row = 0, column = 0, rows = 0, columns = 0;
};

/// A borrowed callable fn(block), which does not throw.
class BlockRef {
public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, BlockRef>) BlockRef(F&& f)
        : self_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* self, const ProductBlock& block) {
              (*static_cast<std::remove_reference_t<F>*>(self))(block);
          }) {}
    void operator()(const ProductBlock& block) const { call_(self_, block); }

private:
    void* self_;
    void (*call_)(void*, const ProductBlock&);
};

/// The same; `finish` then takes each block of C while it is in cache, in the thread that made it.
void multiply(Matrices<const float> a, Matrices<const float> b, Matrices<float> c, const ProductOptions& options,
              Context& context, BlockRef finish);

/// Tokens of heads as rows of matrices.
template <class T>
Matrices<T> matrices_of(const Heads<T>& x) {
    return {x.data, x.heads, x.tokens, x.dim, x.token_stride, x.head_stride};
}

}  // namespace dense

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#endif
