// Tensors that own their numbers.
#pragma once

#include <attenta/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

/// A tensor [heads, tokens, dim] of its own.
struct Tensor {
    std::int64_t heads = 0, tokens = 0, dim = 0;
    std::vector<float> values;

    Tensor() = default;
    Tensor(std::int64_t h, std::int64_t t, std::int64_t d)
        : heads(h), tokens(t), dim(d), values(static_cast<std::size_t>(h * t * d)) {}
    explicit Tensor(attenta::Heads<const float> x) : Tensor(x.heads, x.tokens, x.dim) {
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < tokens; ++t) std::copy_n(x.row(h, t), dim, view().row(h, t));
    }
    attenta::Heads<float> view() { return attenta::hnd(values.data(), heads, tokens, dim); }
    attenta::Heads<const float> view() const { return attenta::hnd(values.data(), heads, tokens, dim); }
};
