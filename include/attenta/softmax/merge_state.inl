#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/softmax/merge_state.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless the sizes are sound and outputs keep off inputs, but for the first part in its place.
inline void check_parts(const float* o_parts, const float* lse_parts, std::int64_t parts, std::int64_t heads,
                        std::int64_t tokens, std::int64_t dim_v, const float* o, const float* lse) {
    const char* f = "merge_state";
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (parts < 1) fail(f, "there are " + text(parts) + " parts, needs at least 1");
    const std::string shape = "o is [" + text(heads) + ", " + text(tokens) + ", " + text(dim_v) + "]";
    if (heads < 0 || tokens < 0 || dim_v < 0) fail(f, shape + ", sizes are at least 0");
    const std::int64_t rows = saturating::multiply(heads, tokens), row = saturating::multiply(dim_v, sizeof(float));
    const auto of = [](const float* p, std::int64_t n, std::int64_t size) {
        return Bytes::of(p, saturating::multiply(n, size));
    };
    const std::int64_t all = saturating::multiply(parts, rows);
    const Bytes in = of(o_parts, all, row), sums_in = of(lse_parts, all, sizeof(float)), out = of(o, rows, row),
                sums = lse ? of(lse, rows, sizeof(float)) : Bytes{};
    if (std::max(in.size(), sums_in.size()) >= Bytes::too_many)
        fail(f, shape + " in " + text(parts) + " parts, more than memory holds");
    for (const auto& [name, bytes] :
         {NamedBytes{"o_parts", in}, NamedBytes{"lse_parts", sums_in}, NamedBytes{"o", out}})
        checks::check_pointer(f, name, bytes.begin, sizeof(float), bytes.size() > 0);
    checks::check_pointer(f, "lse", lse, sizeof(float), false);
    if (o != o_parts && out.meets(in)) fail(f, "o overlaps o_parts elsewhere than at its begin");
    if (lse != lse_parts && sums.meets(sums_in)) fail(f, "lse overlaps lse_parts elsewhere than at its begin");
    if (out.meets(sums_in)) fail(f, "o overlaps lse_parts, needs memory of its own");
    if (sums.meets(in)) fail(f, "lse overlaps o_parts, needs memory of its own");
    if (sums.meets(out)) fail(f, "lse overlaps o, needs memory of its own");
    for (std::int64_t i = 0; i < all; ++i)
        if (!(lse_parts[i] < std::numeric_limits<float>::infinity()))
            fail(f, "lse has " + std::to_string(lse_parts[i]) + " at element " + text(i) + ", needs a number or -inf");
}

}  // namespace detail

ATTENTA_INLINE void merge_state(const float* o_parts, const float* lse_parts, std::int64_t parts, std::int64_t heads,
                                std::int64_t tokens, std::int64_t dim_v, float* o, float* lse, Context& context) {
    detail::check_parts(o_parts, lse_parts, parts, heads, tokens, dim_v, o, lse);
    const std::int64_t rows = heads * tokens;
    const MergeFunction merge = merge_row();
    constexpr std::int64_t chunk = 64;
    context.executor().parallel_for((rows + chunk - 1) / chunk, [&](std::int64_t task, int) {
        for (std::int64_t r = task * chunk; r < std::min(rows, (task + 1) * chunk); ++r) {
            const RowStatistics row =
                merge(o_parts + r * dim_v, rows * dim_v, lse_parts + r, nullptr, rows, parts, dim_v, o + r * dim_v);
            if (lse) lse[r] = row.lse();
        }
    });
}

ATTENTA_END
