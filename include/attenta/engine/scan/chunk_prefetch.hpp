// Prefetching of the next chunk of the scan. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/prefetch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Rows of the next chunk are prefetched line by line between the steps of this one's products: heads of token-major
/// tensors lie far apart, where processors do not prefetch by themselves, and many prefetches at once stop the work. Each
/// head prefetches a share of the tokens, of all heads in their order in memory.
template <class Base>
class ChunkPrefetch : public Base {
protected:
    using Base::Base;
    using Base::R, Base::vectors, Base::W, Base::spread, Base::group, Base::job_, Base::r_, Base::first_head_,
        Base::heads_, Base::head_, Base::column_, Base::columns_, Base::panels_, Base::dim_, Base::x_,
        Base::by_channel_, Base::span_, Base::n_;
    using Tile = simd::RegisterTile<typename Base::Arch, R, vectors>;

    void plan_prefetch() {
        prefetch_ = {};
        lines_per_step_ = 0;
        const std::int64_t keys = span_.begin + chunk, queries = span_.query_begin + chunk,
                           left = span_.keys ? r_.k.tokens - keys : r_.q.tokens - queries,
                           count = std::min(chunk, left);
        if (count <= 0) return;
        const std::int64_t at = head_ - first_head_, from = at * count / heads_, to = (at + 1) * count / heads_;
        const std::byte** next = x_.prefetch;
        const auto rows = [&](const auto& x, std::int64_t of, std::int64_t token) {
            if (!x.data) return;
            const std::int64_t each = of / job_.state_heads, begin = spread(first_head_ * each, of, x.heads),
                               end = spread((first_head_ + heads_) * each - 1, of, x.heads) + 1;
            for (std::int64_t t = token + from; t < token + to; ++t)
                for (std::int64_t h = begin; h < end; ++h) *next++ = reinterpret_cast<const std::byte*>(x.row(h, t));
        };
        constexpr auto size = static_cast<std::int64_t>(sizeof(float));
        if (span_.keys)
            for (const auto* x : {&r_.k, &r_.a, &r_.b}) rows(*x, job_.state_heads, keys);
        if (span_.keys && by_channel_) rows(r_.g, job_.state_heads, keys);
        if (span_.queries) rows(r_.q, job_.out_heads, queries);
        const std::byte** const values = next;
        if (span_.keys) rows(r_.v, job_.state_heads, keys);
        if (span_.queries) rows(job_.o, job_.out_heads, queries);
        prefetch_ = {{x_.prefetch, values, 0, r_.k.dim * size, job_.prefetch_to_l1},
                     {values, next, column_ * size, columns_ * size, job_.prefetch_to_l1}};
        const std::int64_t passes =
                               (span_.queries ? group() : 0) + (r_.update != Update::additive && span_.keys ? 1 : 0),
                           products = span_.updates ? (r_.update == Update::low_rank ? 2 : 1) : 0;
        const std::int64_t turns = panels_ * (passes + products) * n_ * dim_ / R / Tile::together;
        lines_per_step_ = prefetch_.lines() * one_line / std::max<std::int64_t>(1, turns) + 1;
        due_ = dim_ / Tile::together * one_line;  // a product early, so that none is left behind the last one
    }

    /// RegisterTile::add with prefetches on the way, evenly: memory answers one by one.
    template <class SomeTile>
    ATTENTA_ALWAYS_INLINE void add_and_prefetch(SomeTile& tile, const float* a, std::int64_t depth_step, const float* b,
                                                std::int64_t depth) {
        const std::int64_t turns = std::max<std::int64_t>(1, depth / SomeTile::together);
        due_ += lines_per_step_ * turns;
        const std::int64_t lines =
            due_ / (turns * one_line);  // the same number in every step takes the fewest instructions
        due_ -= lines * turns * one_line;
        simd::KeyValuePrefetch queue = prefetch_;  // stays in registers
        if (lines == 1)
            tile.template add<1>(a, depth_step, b, W, depth, [&]() ATTENTA_FLATTEN { queue.prefetch(); });
        else
            tile.template add<1>(a, depth_step, b, W, depth, [&]() ATTENTA_FLATTEN {
                for (std::int64_t i = 0; i < lines; ++i) queue.prefetch();
            });
        prefetch_ = queue;
    }

private:
    simd::KeyValuePrefetch prefetch_;
    static constexpr std::int64_t one_line = 1 << 16;
    std::int64_t lines_per_step_ = 0, due_ = 0;  ///< fixed point, one_line is a line
};

}  // namespace scan

ATTENTA_END
