#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/kernel.hpp>
#include <attenta/sparse/documents/maxsim.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

struct MaxsimScratch {
    static constexpr std::int64_t key_block = 128, most_rows = 12, most_lanes = 16;
    const std::byte** rows;
    float *queries, *keys, *tile;
    float *best, *where;  ///< [query vectors][lanes], the largest similarity of each lane, and in which vector it stood

    MaxsimScratch(Arena& c, std::int64_t query_vectors, std::int64_t dim) {
        const std::int64_t padded = round_up(query_vectors, most_rows);
        rows = c.take<const std::byte*>(key_block);
        queries = c.take<float>(padded * dim + most_lanes);
        keys = c.take<float>(key_block * dim);
        tile = c.take<float>(most_rows * key_block);
        best = c.take<float>(padded * most_lanes);
        where = c.take<float>(padded * most_lanes);
    }
};

struct MaxsimJob {
    MaxsimInputs x;
    MaxsimOutputs out;
    MaxsimSimilarity similarity;
    float floor;
};

/// Documents [begin, end).
using MaxsimFunction = void (*)(const MaxsimJob& job, std::int64_t begin, std::int64_t end, std::byte* scratch);
ATTENTA_DECLARE_KERNEL(MaxsimFunction, maxsim_documents)

}  // namespace detail

ATTENTA_END
