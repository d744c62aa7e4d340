// What is done with finished rows. Merging of parts: (o, lse) of disjoint key sets. See softmax/merge_state.hpp for the mathematics.
#pragma once

#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// One row, whose statistics are returned: part p is o_parts[p · o_step ..] with the statistics max[p · step], sum[p · step];
/// without `sum`, `max` is its lse. `o` may be one of the parts' only if it is the first.
using MergeFunction = RowStatistics (*)(const float* o_parts, std::int64_t o_step, const float* max, const float* sum,
                                        std::int64_t step, std::int64_t parts, std::int64_t dim_v, float* o);
ATTENTA_DECLARE_KERNEL(MergeFunction, merge_row)

/// o = Σ_p part p, of weights that have no denominator.
using SumFunction = void (*)(const float* o_parts, std::int64_t o_step, std::int64_t parts, std::int64_t dim_v,
                             float* o);
ATTENTA_DECLARE_KERNEL(SumFunction, sum_row_parts)

/// o = o ⊙ sigmoid(gate + bias), of a finished row, bias or null; a gate of one number is that of all of them.
using GateFunction = void (*)(const float* gate, const float* bias, std::int64_t gate_dim, std::int64_t dim_v,
                              float* o);
ATTENTA_DECLARE_KERNEL(GateFunction, gate_output_row)

ATTENTA_END
