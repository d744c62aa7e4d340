// What the select loop has compiled for each instruction set.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/kernel.hpp>
#include <attenta/engine/select/request.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace select {

/// What the tasks of a range of queries share. Scores are [key head][query][head or list][stride].
struct Job {
    const Request* request = nullptr;
    std::int64_t query_begin = 0, query_end = 0;
    float* scores = nullptr;
    std::int64_t rows = 0;  ///< of scores of a key head and query: its query heads, or the lists that they are added to
    std::int64_t stride = 0;         ///< floats of a row of scores
    std::int32_t* chosen = nullptr;  ///< [list head][query][top], the best units in ascending order
    std::int32_t* count = nullptr;   ///< [list head][query], how many they are

    float* row(std::int64_t key_head, std::int64_t query) const {
        return scores + (key_head * (query_end - query_begin) + query - query_begin) * rows * stride;
    }
};

/// Queries [query_begin, query_end) of one key head against keys [key_begin, key_end), which are whole units.
struct ScoreTask {
    std::int64_t key_head = 0, query_begin = 0, query_end = 0, key_begin = 0, key_end = 0;
};

struct ScoreScratch {
    static constexpr std::int64_t most_lanes = 16, most_rows = 12;
    const std::byte **rows, **unused;
    float *keys, *queries, *tile;

    ScoreScratch(Arena& c, std::int64_t dim, std::int64_t of_rows) {
        rows = c.take<const std::byte*>(key_block + most_lanes);
        unused = c.take<const std::byte*>(key_block);
        keys = c.take<float>(key_block * dim);
        queries = c.take<float>(round_up(of_rows, most_rows) * round_up(dim, most_lanes) + most_lanes);
        tile = c.take<float>(most_rows * key_block);
    }
};

using ScoreFunction = void (*)(const Job& job, const ScoreTask& task, std::byte* scratch);
ATTENTA_DECLARE_KERNEL(ScoreFunction, score_keys)

/// The `top` largest of x[0, n), those that are numbers above -inf: their indices ascending to `to`; returns how many.
/// `scratch` holds 2 n integers. Ties go to the lower index.
using TopFunction = std::int64_t (*)(const float* x, std::int64_t n, std::int64_t top, std::int32_t* to,
                                     std::int32_t* scratch);
ATTENTA_DECLARE_KERNEL(TopFunction, top_of_row)

}  // namespace select

ATTENTA_END
