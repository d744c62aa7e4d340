// Outputs beside o and lse: scores, shares, branches. They are checked as o is.
#pragma once

#include <attenta/engine/common/output_memory.hpp>
#include <attenta/sparse/common.hpp>

#include <span>

ATTENTA_BEGIN

namespace detail {

/// Throws Error where an output is misaligned, larger than any memory, or meets an input, o, lse or another one.
class FurtherOutputs : public OutputMemory {
public:
    FurtherOutputs(const SparseCall& call, std::span<const Input> inputs)
        : OutputMemory(call.function, inputs, call.q, call.kv, call.out.o, call.out.lse) {}
};

}  // namespace detail

ATTENTA_END
