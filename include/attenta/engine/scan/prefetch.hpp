// Rows of the next chunk are prefetched line by line between the steps of this one's products: heads of token-major
// tensors lie far apart, where processors do not prefetch by themselves, and many prefetches at once stop the work.
// Each head prefetches a share of the tokens, of all heads in their order in memory. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/prefetch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

inline constexpr std::int64_t one_line = 1 << 16;  ///< a line in the fixed point of NextRows

/// Between how many steps of this chunk's products with states its head prefetches.
template <class Arch>
std::int64_t steps_of_products(const Chunk<Arch>& c) {
    const std::int64_t passes = (c.span.queries ? c.group() : 0) + (c.corrects() && c.span.keys ? 1 : 0),
                       products = c.span.updates ? (c.low_rank() ? 2 : 1) : 0;
    return c.panels * (passes + products) * c.n * c.dim / c.R / Chunk<Arch>::Tile::together;
}

/// Appends this head's share of the next chunk's rows, `count` from `token` on of all heads of the task. `of` heads
/// read the tensor.
template <class Arch>
const std::byte** append_rows(const Chunk<Arch>& c, const Heads<const float>& x, std::int64_t of, std::int64_t token,
                              std::int64_t count, const std::byte** to) {
    if (!x.data) return to;
    const std::int64_t share = c.head - c.first_head, each = of / c.job.state_heads,
                       begin = spread(c.first_head * each, of, x.heads),
                       end = spread((c.first_head + c.heads) * each - 1, of, x.heads) + 1;
    for (std::int64_t t = share * count / c.heads; t < (share + 1) * count / c.heads; ++t)
        for (std::int64_t h = begin; h < end; ++h) *to++ = reinterpret_cast<const std::byte*>(x.row(h, token + t));
    return to;
}

template <class Arch>
void plan_prefetch(Chunk<Arch>& c) {
    const Request& r = c.r;
    const Job& job = c.job;
    c.next.queue = {};
    c.next.lines_per_step = 0;
    const std::int64_t keys = c.span.begin + chunk, queries = c.span.query_begin + chunk,
                       left = c.span.keys ? r.k.tokens - keys : r.q.tokens - queries, count = std::min(chunk, left);
    if (count <= 0) return;
    const std::byte** values = c.scratch.rows_to_prefetch;
    if (c.span.keys)
        for (const auto* x : {&r.k, &r.a, &r.b, &r.erase})
            values = append_rows(c, *x, job.state_heads, keys, count, values);
    if (c.span.keys && c.by_channel) values = append_rows(c, r.g, job.state_heads, keys, count, values);
    if (c.span.queries) values = append_rows(c, r.q, job.out_heads, queries, count, values);
    const std::byte** end = values;
    if (c.span.keys)
        for (const auto* x : {&r.v, &r.write}) end = append_rows(c, *x, job.state_heads, keys, count, end);
    if (c.span.queries) end = append_rows(c, job.o, job.out_heads, queries, count, end);
    constexpr auto size = static_cast<std::int64_t>(sizeof(float));
    c.next.queue = {{c.scratch.rows_to_prefetch, values, 0, r.k.dim * size, job.prefetch_to_l1},
                    {values, end, c.column * size, c.columns * size, job.prefetch_to_l1}};
    c.next.lines_per_step = c.next.queue.lines() * one_line / std::max<std::int64_t>(1, steps_of_products(c)) + 1;
    // A product early, so that none is left behind the last one.
    c.next.due = c.dim / Chunk<Arch>::Tile::together * one_line;
}

/// RegisterTile::add of columns with prefetches on the way, evenly: memory answers one by one.
template <class Arch, class SomeTile>
ATTENTA_ALWAYS_INLINE void add_and_prefetch(Chunk<Arch>& c, SomeTile& tile, const float* a, std::int64_t depth_step,
                                            const float* b, std::int64_t depth) {
    constexpr std::int64_t W = Chunk<Arch>::W;
    const std::int64_t steps = std::max<std::int64_t>(1, depth / SomeTile::together);
    c.next.due += c.next.lines_per_step * steps;
    // The same number in every step takes the fewest instructions.
    const std::int64_t lines = c.next.due / (steps * one_line);
    c.next.due -= lines * steps * one_line;
    simd::KeyValuePrefetch queue = c.next.queue;  // stays in registers
    if (lines == 1)
        tile.template add<1>(a, depth_step, b, W, depth, [&]() ATTENTA_FLATTEN { queue.prefetch(); });
    else
        tile.template add<1>(a, depth_step, b, W, depth, [&]() ATTENTA_FLATTEN {
            for (std::int64_t i = 0; i < lines; ++i) queue.prefetch();
        });
    c.next.queue = queue;
}

}  // namespace scan

ATTENTA_END
