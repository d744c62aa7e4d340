// The tensors of the benchmarks of linear attention.
#pragma once

#include "bench/ruler/memory.hpp"

#include <attenta/catalog.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>

namespace bench {

/// Inputs of a mechanism that are drawn once, and room for an output. Tensors lie [token, head, dim]; every width is D,
/// and groups have one head.
class LinearProblem {
public:
    LinearProblem(const attenta::Mechanism& mechanism, std::int64_t H, std::int64_t T, std::int64_t D);

    const attenta::NamedInputs& inputs() const { return inputs_; }
    /// The first `count` tokens.
    attenta::NamedInputs first(std::int64_t count) const;
    attenta::Heads<float> o() const { return o_; }

private:
    attenta::Heads<float> take(std::int64_t heads, std::int64_t tokens, std::int64_t dim);
    void draw(const attenta::Input& input);

    std::int64_t H_, T_, D_, used_ = 0;
    HugeBuffer memory_;
    attenta::NamedInputs inputs_;
    attenta::Heads<float> o_;
};

}  // namespace bench
