#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Systems (R_t + diag(ridge)) x = q, one in each row of [rows, dim]; row i is that of token i % tokens.
struct MesaSystems {
    float *x = nullptr, *residual = nullptr, *direction = nullptr, *product = nullptr;
    const float *ridge = nullptr, *inverse = nullptr;  ///< [dim]; 1 / diagonal [tokens, dim]
    const float* decay = nullptr;                      ///< [tokens] of R on its way to the token
    float* size = nullptr;   ///< [rows] residual · inverse diagonal · residual, below 0: solved
    float* unit = nullptr;   ///< [rows] the largest number of q, taken out of the row
    float* limit = nullptr;  ///< [rows] of the squared residual
    std::int64_t rows = 0, dim = 0, tokens = 1;
};
/// The residual holds q: x = 0, the first direction.
using MesaBegin = void (*)(const MesaSystems& systems);
ATTENTA_DECLARE_KERNEL(MesaBegin, mesa_begin)
/// The product holds R p: it becomes decay · R p + ridge ⊙ p.
using MesaRegularize = void (*)(const MesaSystems& systems);
ATTENTA_DECLARE_KERNEL(MesaRegularize, mesa_regularize)
/// A step along the directions p with their products; how many rows are not solved yet.
using MesaStep = std::int64_t (*)(const MesaSystems& systems);
ATTENTA_DECLARE_KERNEL(MesaStep, mesa_step)

/// 1 / (diagonal of R_t + ridge) of n tokens [n, dim]; `diagonal` [dim] is R's, and is moved on.
struct MesaDiagonals {
    float *diagonal = nullptr, *inverse = nullptr;
    const float *k = nullptr, *ridge = nullptr, *decay = nullptr, *beta = nullptr;  ///< decay, beta [n] of each token
    std::int64_t k_stride = 0, n = 0, dim = 0;
};
using MesaDiagonalFunction = void (*)(const MesaDiagonals& diagonals);
ATTENTA_DECLARE_KERNEL(MesaDiagonalFunction, mesa_diagonals)

}  // namespace detail

ATTENTA_END
