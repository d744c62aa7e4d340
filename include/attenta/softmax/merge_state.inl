#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/backend_table.hpp>
#include <attenta/softmax/merge_state.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void merge_state(const float* o_parts, const float* lse_parts, std::int64_t parts, std::int64_t heads,
                                std::int64_t tokens, std::int64_t dim_v, float* o, float* lse, Context& context) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (parts < 1) fail("merge_state", "there are " + text(parts) + " parts, needs at least 1");
    if (heads < 0 || tokens < 0 || dim_v < 0)
        fail("merge_state",
             "o is [" + text(heads) + ", " + text(tokens) + ", " + text(dim_v) + "], sizes are at least 0");
    const std::int64_t rows = heads * tokens;
    for (std::int64_t i = 0; i < parts * rows; ++i)
        if (!(lse_parts[i] < std::numeric_limits<float>::infinity()))
            fail("merge_state",
                 "lse has " + std::to_string(lse_parts[i]) + " at element " + text(i) + ", needs a number or -inf");

    const Backend& backend = active_backend();
    constexpr std::int64_t chunk = 64;
    context.executor().parallel_for((rows + chunk - 1) / chunk, [&](std::int64_t task, int) {
        for (std::int64_t r = task * chunk; r < std::min(rows, (task + 1) * chunk); ++r)
            backend.merge_row(o_parts + r * dim_v, rows * dim_v, lse_parts + r, nullptr, rows, parts, dim_v, o + r * dim_v,
                              lse + r);
    });
}

ATTENTA_END
