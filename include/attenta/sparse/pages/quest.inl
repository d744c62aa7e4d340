#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/pages/quest.hpp>

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The nearest bfloat16 that is not below x (up) or not above it.
inline float outward(float x, bool up) {
    const float near = static_cast<float>(static_cast<bfloat16>(x));
    if (up ? near >= x : near <= x) return near;
    // Patterns of a sign are ordered as their numbers are, away from 0.
    const bool away = up == (x > 0);
    const auto bits = std::bit_cast<std::uint32_t>(near);
    if (near == 0) return std::bit_cast<float>(up ? 0x00010000u : 0x80010000u);
    return std::bit_cast<float>(away ? bits + 0x10000u : bits - 0x10000u);
}

/// Bounds of a row's own page where it has later keys: those up to the query alone.
struct QuestOwnPage {
    const QuestInputs* x;
    std::int64_t page_size;

    static void row(const void* parameters, const select::RowScores& r) {
        const auto& self = *static_cast<const QuestOwnPage*>(parameters);
        std::copy_n(r.scores, r.count, r.units);
        if ((r.position + 1) % self.page_size != 0) r.units[r.count - 1] = self.bound(r);
    }

    float bound(const select::RowScores& r) const {
        const std::int64_t dim = x->q.dim, head = r.list_head / (x->q.heads / x->kv.heads);
        std::vector<float> key(static_cast<std::size_t>(dim)), high, low;
        for (std::int64_t j = r.position / page_size * page_size; j <= r.position; ++j) {
            read_key(x->kv, head, j, key.data());
            if (high.empty()) high = low = key;
            for (std::size_t c = 0; c < key.size(); ++c) {
                high[c] = std::max(high[c], key[c]);
                low[c] = std::min(low[c], key[c]);
            }
        }
        float sum = 0;
        const float* const q = x->q.row(r.list_head, r.query);
        for (std::size_t c = 0; c < key.size(); ++c) sum += std::max(q[c] * high[c], q[c] * low[c]);
        return sum;
    }
};

inline void check_quest(const QuestInputs& x, const QuestOptions& options) {
    require_at_least("quest", "page_size", options.page_size, 1);
    require_at_least("quest", "top_pages", options.top_pages, 1);
    if (!x.bounds) return;
    check_kept("quest", "bounds", "heads", x.bounds->rows().heads(), x.kv.heads);
    check_kept("quest", "bounds", "features", x.bounds->rows().dim(), 2 * x.q.dim);
    check_kept("quest", "bounds", "keys to a page", x.bounds->page_size(), options.page_size);
    check_kept("quest", "bounds", "keys", x.bounds->keys(), x.kv.length(0));
}

}  // namespace detail

ATTENTA_INLINE PageBounds::PageBounds(std::int64_t kv_heads, std::int64_t dim, std::int64_t page_size, Dtype storage)
    : page_size_(page_size), table_(kv_heads, 2 * dim, storage) {
    detail::require_at_least("PageBounds", "page_size", page_size, 1);
    if (storage == Dtype::f16) fail("PageBounds", "storage is f16, needs f32 or bf16");
}

ATTENTA_INLINE void PageBounds::update(const KvView& kv) {
    const std::int64_t dim = table_.dim() / 2;
    detail::check_kept_keys("PageBounds::update", kv, table_.heads(), dim);
    std::vector<float> key(static_cast<std::size_t>(dim)), row(static_cast<std::size_t>(2 * dim));
    const bool rounds = table_.storage() == Dtype::bf16;
    for (; keys_ < kv.length(0); ++keys_) {
        const std::int64_t page = keys_ / page_size_;
        const bool first = keys_ % page_size_ == 0;
        if (first) table_.append(1);
        for (std::int64_t h = 0; h < kv.heads; ++h) {
            detail::read_key(kv, h, keys_, key.data());
            table_.get(h, page, row.data());
            for (std::size_t c = 0; c < key.size(); ++c) {
                const float high = rounds ? detail::outward(key[c], true) : key[c],
                            low = rounds ? detail::outward(key[c], false) : key[c];
                float &most = row[c], &least = row[c + key.size()];
                most = first ? high : std::max(most, high);
                least = first ? low : std::min(least, low);
            }
            table_.set(h, page, row.data());
        }
    }
}

namespace detail {

inline void select_quest(const QuestInputs& x, KeyLists& lists, const QuestOptions& options, Context& context) {
    check_quest(x, options);
    PageBounds own;
    if (!x.bounds) {
        own = PageBounds(x.kv.heads, x.q.dim, options.page_size);
        own.update(x.kv);
    }
    const std::int64_t dim = x.q.dim, keys = x.kv.length(0);
    const CallQueries halves(x.q.heads, x.q.tokens, 2 * dim, context);  // max(q, 0), min(q, 0)
    const Heads<float>& q = halves.view();
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t)
            for (std::int64_t c = 0; c < dim; ++c) {
                q.row(h, t)[c] = std::max(x.q.row(h, t)[c], 0.f);
                q.row(h, t)[c + dim] = std::min(x.q.row(h, t)[c], 0.f);
            }
    select::Request r{
        .function = "quest", .q = q, .panels = (x.bounds ? *x.bounds : own).rows().view(), .heads = q.heads};
    const std::int64_t pages = r.key_count();
    r.visible_keys = r.units = {.count = pages, .unit = options.page_size, .plus = 1};
    r.top = options.top_pages;
    r.last_forced = options.include_last ? 1 : 0;
    r.q_offset = keys - q.tokens;
    r.unit_keys = std::min(options.page_size, std::max<std::int64_t>(keys, 1));
    r.cache_keys = keys;
    const QuestOwnPage own_page{&x, options.page_size};
    if (!options.include_last && q.tokens > 1) {
        r.row = QuestOwnPage::row;
        r.row_parameters = &own_page;
    }
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void quest_lists(const QuestInputs& x, KeyLists& lists, const QuestOptions& options, Context& context) {
    detail::check_selection("quest", InputList(x), x.q, x.kv);
    detail::select_quest(x, lists, options, context);
}

ATTENTA_INLINE void quest(const QuestInputs& x, const SparseOutputs& out, const QuestOptions& options,
                          Context& context) {
    const auto call = detail::check_sparse("quest", x, out, options, Positions::last, context);
    detail::CallLists lists(call);
    detail::select_quest(x, *lists, options, context);
    call.attend(*lists, Causal{});
}

ATTENTA_END
