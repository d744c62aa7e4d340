#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/pages/moba.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_moba(const MobaInputs& x, const MobaOptions& options) {
    require_at_least("moba", "block_size", options.block_size, 1);
    require_at_least("moba", "top_k", options.top_k, 1);
    if (!x.means) return;
    check_kept("moba", "means", "heads", x.means->rows().heads(), x.kv.heads);
    check_kept("moba", "means", "features", x.means->rows().dim(), x.q.dim);
    check_kept("moba", "means", "keys to a block", x.means->block_size(), options.block_size);
    check_kept("moba", "means", "keys", x.means->keys(), x.kv.length(0));
}

}  // namespace detail

ATTENTA_INLINE BlockMeans::BlockMeans(std::int64_t kv_heads, std::int64_t dim, std::int64_t block_size, Dtype storage)
    : block_size_(block_size), table_(kv_heads, dim, storage) {
    detail::require_at_least("BlockMeans", "block_size", block_size, 1);
    sums_.resize(static_cast<std::size_t>(kv_heads * dim));
}

ATTENTA_INLINE void BlockMeans::update(const KvView& kv) {
    const std::int64_t dim = table_.dim();
    detail::check_kept_keys("BlockMeans::update", kv, table_.heads(), dim);
    std::vector<float> key(static_cast<std::size_t>(dim));
    for (; keys_ < kv.length(0); ++keys_) {
        const bool last = (keys_ + 1) % block_size_ == 0;
        if (last) table_.append(1);
        for (std::int64_t h = 0; h < kv.heads; ++h) {
            double* const sum = sums_.data() + h * dim;
            detail::read_key(kv, h, keys_, key.data());
            for (std::int64_t c = 0; c < dim; ++c) sum[c] += double{key[static_cast<std::size_t>(c)]};
            if (!last) continue;
            for (std::int64_t c = 0; c < dim; ++c)
                key[static_cast<std::size_t>(c)] = static_cast<float>(sum[c] / static_cast<double>(block_size_));
            table_.set(h, keys_ / block_size_, key.data());
            std::fill_n(sum, dim, 0.0);
        }
    }
}

namespace detail {

inline void select_moba(const MobaInputs& x, KeyLists& lists, const MobaOptions& options, Context& context) {
    check_moba(x, options);
    BlockMeans own;
    if (!x.means) {
        own = BlockMeans(x.kv.heads, x.q.dim, options.block_size);
        own.update(x.kv);
    }
    const std::int64_t keys = x.kv.length(0), size = options.block_size;
    select::Request r{
        .function = "moba", .q = x.q, .panels = (x.means ? *x.means : own).rows().view(), .heads = x.q.heads};
    // The own block is always read, whatever its mean.
    r.visible_keys = {.count = r.key_count(), .unit = size};
    r.units = {.count = blocks_of(keys, size), .unit = size, .plus = 1};
    r.top = options.top_k;
    r.last_forced = 1;
    r.q_offset = keys - x.q.tokens;
    r.unit_keys = std::min(size, std::max<std::int64_t>(keys, 1));
    r.cache_keys = keys;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void moba_lists(const MobaInputs& x, KeyLists& lists, const MobaOptions& options, Context& context) {
    detail::check_selection("moba", InputList(x), x.q, x.kv);
    detail::select_moba(x, lists, options, context);
}

ATTENTA_INLINE void moba(const MobaInputs& x, const SparseOutputs& out, const MobaOptions& options, Context& context) {
    const auto call = detail::check_sparse("moba", x, out, options, Positions::last, context);
    detail::CallLists lists(call);
    detail::select_moba(x, *lists, options, context);
    call.attend(*lists, Causal{});
}

ATTENTA_END
