// Attention out of matrix products, as a user of a BLAS writes it: blocks of query rows, so that their scores stay in
// cache and masked keys are left out; the query heads of a group are rows of one block and share the group's K and V.
#pragma once

#include "bench/softmax/problem.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

/// One head of K or V: rows of `dim` numbers, `stride` apart.
struct HeadRows {
    const float* data;
    std::int64_t dim, stride;
};

/// What the library gives. Matrices without a stride are dense; rows of scores have one score per key.
class Products {
public:
    virtual ~Products() = default;

    /// s [rows, keys] = q [rows, k.dim] · Kᵀ, of the first `keys` rows of K.
    virtual void scores(std::int64_t rows, std::int64_t keys, const float* q, HeadRows k, float* s) = 0;
    /// Softmax of every row of s, up to a factor that `values` makes good; masked scores are -infinity.
    virtual void softmax(std::int64_t rows, std::int64_t keys, float* s) = 0;
    /// o [rows, v.dim] = weights · V.
    virtual void values(std::int64_t rows, std::int64_t keys, const float* s, HeadRows v, float* o) = 0;
};

class BlockwiseAttention {
public:
    /// Blocks have at most `rows` rows, at least one query of a group.
    BlockwiseAttention(const Problem& problem, std::int64_t rows);

    void operator()(std::size_t copy, Products& products);

private:
    struct Block {
        std::int64_t begin, queries, keys;
    };
    Block block(std::int64_t begin) const;
    void load(std::size_t copy, std::int64_t group, Block b);
    void mask(Block b);
    void store(std::size_t copy, std::int64_t group, Block b);

    const Problem& problem_;
    std::int64_t heads_, queries_;  // of a block: query heads of a group, query tokens
    std::vector<float> q_, s_, o_;
};

}  // namespace bench
