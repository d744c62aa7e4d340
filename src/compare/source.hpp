// Where the queries, keys and values come from that all mechanisms are compared on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "machine_memory.hpp"

namespace compare {

/// [heads, tokens, dim], row-major.
struct Block {
    std::int64_t heads = 0, tokens = 0, dim = 0;
    std::vector<float> values = {};

    Block() = default;
    Block(std::int64_t h, std::int64_t t, std::int64_t d)
        : heads(h), tokens(t), dim(d), values(static_cast<std::size_t>(h * t * d)) {}
    const float* row(std::int64_t h, std::int64_t t) const { return values.data() + (h * tokens + t) * dim; }
    float* row(std::int64_t h, std::int64_t t) { return values.data() + (h * tokens + t) * dim; }
};

/// Queries [Hq, T, D], keys [Hkv, T, D] and values [Hkv, T, Dv] of one sequence, Hq a multiple of Hkv.
struct Source {
    Block q, k, v;
    std::string description;
    std::int64_t tokens() const { return q.tokens; }
};

/// What the bundled model makes of `context` tokens of its reference document, which is repeated where the context is
/// longer (positions go on then, beyond those it was trained on). Heads are those of the middle layer, then of the layers
/// behind it and before it; 0: as many as the layer has. Throws attenta::Error where the model cannot be read, has not so
/// many heads or not in such groups, or the context needs more memory than there is.
Source model_source(const std::filesystem::path& directory, std::int64_t context, std::int64_t heads);

/// A file of each, "FILE" or "FILE:TENSOR"; of a file with several tensors that of the name q, k or v. They are [H, T, D]
/// or [1, H, T, D], floating. The first `context` tokens and `heads` query heads, 0: all.
struct SourceFiles {
    std::string q, k, v;
    bool any() const { return !q.empty() || !k.empty() || !v.empty(); }
};
Source file_source(const SourceFiles& files, std::int64_t context, std::int64_t heads);

inline double memory_bytes() { return static_cast<double>(cli::machine_memory()); }

}  // namespace compare
