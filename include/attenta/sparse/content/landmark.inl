#pragma once

#include <attenta/engine/score/observers.hpp>
#include <attenta/engine/select/kernels.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/softmax/weights.hpp>
#include <attenta/sparse/content/landmark.hpp>
#include <attenta/sparse/content/landmark_edits.hpp>
#include <attenta/sparse/key_table.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_landmark(const LandmarkInputs& x, const LandmarkOptions& options) {
    require_at_least("landmark", "block_size", options.block_size, 2);
    if (!options.top_k) return;
    require_at_least("landmark", "top_k", *options.top_k, 1);
    const std::int64_t keys = x.kv.length(0), first = (keys - x.q.tokens) / options.block_size,
                       last = (keys - 1) / options.block_size;
    if (options.retrieval == LandmarkRetrieval::max_over_tokens && first != last)
        fail("landmark", "q has tokens of blocks " + std::to_string(first) + " to " + std::to_string(last) +
                             ", needs those of one block where retrieval is max_over_tokens");
}

/// The landmarks of all blocks before the last query's own.
inline KeyTable landmarks_of(const KvView& kv, std::int64_t block_size) {
    KeyTable table(kv.heads, kv.k.dim);
    const std::int64_t blocks = (kv.length(0) - 1) / block_size;
    table.append(blocks);
    std::vector<float> key(static_cast<std::size_t>(kv.k.dim));
    for (std::int64_t h = 0; h < kv.heads; ++h)
        for (std::int64_t b = 0; b < blocks; ++b) {
            read_key(kv, h, (b + 1) * block_size - 1, key.data());
            table.set(h, b, key.data());
        }
    return table;
}

/// The blocks that each head reads with all its queries: of the largest weights that these give.
inline void choose_for_heads(const LandmarkInputs& x, const KeyTable& landmarks, KeyLists& lists,
                             const LandmarkOptions& options, Context& context) {
    const std::int64_t blocks = landmarks.size(), queries = x.q.tokens, keys = x.kv.length(0),
                       size = options.block_size, top = std::min(*options.top_k, blocks);
    std::vector<float> weights(static_cast<std::size_t>(x.q.heads * queries * blocks)),
        most(static_cast<std::size_t>(blocks));
    std::vector<RowStatistics> statistics(static_cast<std::size_t>(x.q.heads * queries));
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(top)), scratch(static_cast<std::size_t>(2 * blocks));
    if (blocks > 0) {
        const SoftmaxOptions softmax{.scale = options.scale};
        softmax_statistics(x.q, landmarks.view(), statistics.data(), softmax, context);
        softmax_weights(x.q, landmarks.view(), statistics.data(),
                        {edit(edits::LastRows{weights.data(), blocks, queries, queries})}, {}, softmax, context);
    }
    lists.reset({x.q.heads, queries, keys});
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        std::fill(most.begin(), most.end(), 0.f);
        for (std::int64_t i = 0; i < queries; ++i)
            for (std::int64_t b = 0; b < blocks; ++b) {
                float& m = most[static_cast<std::size_t>(b)];
                m = std::max(m, weights[static_cast<std::size_t>((h * queries + i) * blocks + b)]);
            }
        const std::int64_t count =
            select::top_of_row(active_isa())(most.data(), blocks, top, chosen.data(), scratch.data());
        for (std::int64_t i = 0; i < queries; ++i) {
            for (std::int64_t n = 0; n < count; ++n) lists.add(chosen[static_cast<std::size_t>(n)] * size, size);
            lists.add(blocks * size, keys - queries + i + 1 - blocks * size);
            lists.end_list();
        }
    }
}

/// Both passes, for a range of queries after the other, so that numbers of queries and blocks stay in a cache.
class LandmarkPasses {
public:
    LandmarkPasses(const SparseCall& call, const LandmarkOptions& options, const KeyLists* lists)
        : call_(call),
          lists_(lists),
          block_size_(options.block_size),
          blocks_(blocks_of(call.keys(), block_size_)),
          range_(std::clamp<std::int64_t>(most_numbers / (call.q.heads * blocks_), 1, call.q.tokens)),
          numbers_(static_cast<std::size_t>(call.q.heads * range_ * blocks_)),
          lse_(static_cast<std::size_t>(call.q.heads * range_)) {}

    void run() {
        for (std::int64_t begin = 0; begin < call_.q.tokens; begin += range_)
            run(begin, std::min(range_, call_.q.tokens - begin));
    }

private:
    static constexpr std::int64_t most_numbers = std::int64_t{1} << 21;

    void run(std::int64_t begin, std::int64_t count) {
        KeyLists own;
        if (lists_)
            own = lists_->picked({call_.q.heads, count, call_.keys()},
                                 [&](std::int64_t h, std::int64_t i) { return h * call_.q.tokens + begin + i; });
        attention::Request r = call_.request();
        r.q = call_.q.slice(begin, count);
        r.q_offset = call_.first_position() + begin;
        r.masks = {Causal{}};
        if (lists_) r.lists = {&own, 1};
        std::fill(numbers_.begin(), numbers_.end(), -std::numeric_limits<float>::infinity());
        const edits::LandmarkTable table{numbers_.data(), count, blocks_, block_size_};

        attention::Request inside = r;
        inside.edits = {edit(edits::LandmarkInside{table})};
        inside.values = false;
        inside.in_order = true;
        attention::plan(inside, *call_.context).run(r.q, r.kv, {}, nullptr);

        r.edits = {edit(edits::LandmarkShares{table})};
        attention::plan(r, *call_.context).run(r.q, r.kv, call_.out.o.slice(begin, count), lse_.data());
        for (std::int64_t h = 0; call_.out.lse && h < call_.q.heads; ++h)
            std::copy_n(lse_.data() + h * count, count, call_.out.lse + h * call_.q.tokens + begin);
    }

    const SparseCall& call_;
    const KeyLists* lists_;
    std::int64_t block_size_, blocks_, range_;
    std::vector<float> numbers_;  ///< [Hq, queries of a range, blocks]
    std::vector<float> lse_;
};

/// The call has been checked.
inline void select_landmark(const LandmarkInputs& x, KeyLists& lists, const LandmarkOptions& options,
                            Context& context) {
    const KeyTable landmarks = landmarks_of(x.kv, options.block_size);
    const std::int64_t keys = x.kv.length(0);
    select::Request r{.function = "landmark", .q = x.q, .keys = landmarks.view(), .heads = x.q.heads};
    r.visible_keys = r.units = {.count = landmarks.size(), .unit = options.block_size};
    r.top = *options.top_k;
    r.q_offset = keys - x.q.tokens;
    r.unit_keys = options.block_size;
    r.cache_keys = keys;
    r.others = true;
    select::check(r);
    if (options.retrieval == LandmarkRetrieval::max_over_tokens)
        return choose_for_heads(x, landmarks, lists, options, context);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void landmark_lists(const LandmarkInputs& x, KeyLists& lists, const LandmarkOptions& options,
                                   Context& context) {
    if (!options.top_k) fail("landmark", "top_k is not given, lists need a number");
    detail::check_selection("landmark", InputList(x), x.q, x.kv);
    detail::check_landmark(x, options);
    detail::select_landmark(x, lists, options, context);
}

ATTENTA_INLINE void landmark(const LandmarkInputs& x, const SparseOutputs& out, const LandmarkOptions& options,
                             Context& context) {
    const auto call = detail::check_sparse("landmark", x, out, options, Positions::last, context);
    detail::check_landmark(x, options);
    if (!options.top_k) return detail::LandmarkPasses(call, options, nullptr).run();
    detail::CallLists lists(call);
    detail::select_landmark(x, *lists, options, context);
    detail::LandmarkPasses(call, options, &*lists).run();
}

ATTENTA_END
