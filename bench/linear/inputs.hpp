// The tensors of the benchmarks of linear attention.
#pragma once

#include "bench/ruler/memory.hpp"

#include <attenta/core/view.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace bench {

/// What any of the mechanisms takes; each picks its own. Tensors lie [token, head, dim].
struct LinearInputs {
    attenta::Heads<const float> q, k, v;       // [H, T, D], keys of length 1
    attenta::Heads<const float> g;             // [H, T, D] logarithm of the gate
    attenta::Heads<const float> g_token;       // [H, T, 1]
    attenta::Heads<const float> g_head;        // [H, 1, 1]
    attenta::Heads<const float> beta, dt;      // [H, T, 1]
    attenta::Heads<const float> a, b;          // [H, T, D], the transition of a trained RWKV-7
    attenta::Heads<const float> u;             // [H, 1, D]
    attenta::Matrices<const float> features;   // [1, D, D], the projection of the Performer
    std::span<const float> A, key_max, theta;  // [H], [H], [D/2]

    /// Keys or queries that all heads share, as in Mamba-2: those of head 0.
    static attenta::Heads<const float> group(attenta::Heads<const float> x) {
        x.heads = 1;
        return x;
    }
    /// The first `count` tokens.
    LinearInputs first(std::int64_t count) const;
};

/// Inputs that are drawn once, and room for an output.
class LinearProblem {
public:
    LinearProblem(std::int64_t H, std::int64_t T, std::int64_t D);

    const LinearInputs& inputs() const { return inputs_; }
    attenta::Heads<float> o() const { return o_; }

private:
    template <class F>
    attenta::Heads<float> draw(std::int64_t tokens, std::int64_t dim, const F& value);

    std::int64_t H_, used_ = 0;
    HugeBuffer memory_;
    std::vector<float> g_head_, A_, key_max_, theta_, features_;
    LinearInputs inputs_;
    attenta::Heads<float> o_;
};

}  // namespace bench
