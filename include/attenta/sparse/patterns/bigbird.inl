#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/sparse/patterns/bigbird.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Which blocks are global, and how many there are.
struct BigbirdBlocks {
    std::int64_t count, global;

    bool is_global(std::int64_t b) const { return b < global || b >= count - global; }
};

inline BigbirdBlocks check_bigbird(const BigbirdInputs& x, const BigbirdOptions& options) {
    using checks::text;
    require_at_least("bigbird", "block", options.block, 1);
    require_at_least("bigbird", "window_blocks", options.window_blocks, 1);
    require_at_least("bigbird", "global_blocks", options.global_blocks, 0);
    if (options.window_blocks % 2 == 0)
        fail("bigbird", "window_blocks is " + text(options.window_blocks) + ", needs an odd number");
    const BigbirdBlocks blocks{(x.kv.length(0) - 1) / options.block + 1, options.global_blocks};
    const Heads<const std::int64_t>& r = x.rand_blocks;
    if (!r.data && checks::elements(r.heads, r.tokens, r.dim) > 0)
        fail("bigbird", "rand_blocks is null, has elements to hold");
    if (!r.data || r.dim == 0) return blocks;
    if (r.heads != 1 && r.heads != x.kv.heads && r.heads != x.q.heads)
        fail("bigbird",
             "rand_blocks has " + text(r.heads) + " heads, needs 1, " + text(x.kv.heads) + " or " + text(x.q.heads));
    if (r.tokens != blocks.count)
        fail("bigbird",
             "rand_blocks has " + text(r.tokens) + " rows, needs one for each of " + text(blocks.count) + " blocks");
    for (std::int64_t h = 0; h < r.heads; ++h)
        for (std::int64_t a = 0; a < blocks.count; ++a)
            for (std::int64_t i = 0; i < r.dim && !blocks.is_global(a); ++i)
                if (r.row(h, a)[i] < -1 || r.row(h, a)[i] >= blocks.count)
                    fail("bigbird", "rand_blocks is " + text(r.row(h, a)[i]) + " at " + checks::shape(h, a, i) +
                                        ", needs -1 to " + text(blocks.count - 1));
    return blocks;
}

}  // namespace detail

ATTENTA_INLINE void bigbird_lists(const BigbirdInputs& x, KeyLists& lists, const BigbirdOptions& options) {
    const detail::BigbirdBlocks blocks = detail::check_bigbird(x, options);
    const Heads<const std::int64_t>& random = x.rand_blocks;
    const bool some_random = random.data && random.dim > 0;
    const std::int64_t keys = x.kv.length(0), size = std::min(options.block, keys);
    lists.reset({some_random ? random.heads : 1, x.q.tokens, keys, size, size});
    const std::int64_t beside = options.window_blocks / 2;
    std::vector<std::int64_t> read;
    const auto take = [&](std::int64_t first, std::int64_t end) {
        for (std::int64_t b = std::max<std::int64_t>(first, 0); b < std::min(end, blocks.count); ++b) read.push_back(b);
    };
    for (std::int64_t h = 0; h < lists.shape().heads; ++h)
        for (std::int64_t a = 0; a < blocks.count; ++a) {
            read.clear();
            if (blocks.is_global(a)) {
                take(0, blocks.count);
            } else {
                take(0, blocks.global);
                take(a - beside, saturating::add(a + 1, beside));
                take(blocks.count - blocks.global, blocks.count);
                if (some_random) read.insert(read.end(), random.row(h, a), random.row(h, a) + random.dim);
            }
            std::sort(read.begin(), read.end());
            read.erase(std::unique(read.begin(), read.end()), read.end());
            for (const std::int64_t b : read)
                if (b >= 0) lists.add(b * size, std::min(size, keys - b * size));
            lists.end_list();
        }
}

ATTENTA_INLINE void bigbird(const BigbirdInputs& x, const SparseOutputs& out, const BigbirdOptions& options,
                            Context& context) {
    const auto call = detail::check_sparse("bigbird", x, out, options, Positions::same, context);
    detail::CallLists lists(call);
    bigbird_lists(x, *lists, options);
    call.attend(*lists);
}

ATTENTA_END
