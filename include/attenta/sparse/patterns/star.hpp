// Star attention: blocks of a long context read themselves and an anchor, the tokens behind it read everything. Acharya et
// al. 2024, "Star Attention: Efficient LLM Inference over Long Sequences", section 2.
//
//   phase 1, i < context    A(i) = j <= i of the block of i, and the anchor, the first anchor_size tokens
//   phase 2, i >= context   A(i) = j <= i: each host attends to its keys, and their results merge by lse
//
// Blocks are dealt to hosts in contiguous runs, the first ones longer; the last host has the tokens behind the context, too.
// Time context·(block_size + anchor_size)·(D + Dv) and (Tk - context)·Tk·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

struct StarInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct StarOptions {
    std::int64_t context = 0;                      ///< tokens of the context, 1 to Tk; there is no default
    std::int64_t block_size = 4096;                ///< of them in a block
    std::optional<std::int64_t> anchor_size = {};  ///< 0 to block_size; default block_size
    std::int64_t hosts = 1;                        ///< that phase 2 is cut into, as if each had its keys alone
    std::optional<float> scale = {};               ///< default 1/sqrt(D)
    bool check_data = false;                       ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("context", o.context, "tokens of the context, 1 to Tk");
        visit("block_size", o.block_size, "tokens of a block of the context");
        visit("anchor_size", o.anchor_size, "tokens of the anchor, default block_size");
        visit("hosts", o.hosts, "that phase 2 is cut into, each with its keys alone");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Keys not after the query: in the context the anchor and its own block, behind it all.
struct StarBlocks {
    std::int64_t context, block, anchor;

    Spans spans(const QueryRow& r) const { return spans(r, r); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        const Spans some = spans(a, b);
        if (intersect(k, some.first).empty() && intersect(k, some.second).empty()) return Cover::none;
        // The last row of the context reads least of the keys behind.
        const std::int64_t begin = a.position >= context ? 0 : begin_of(std::min(b.position, context - 1));
        const bool behind = k.end <= anchor || k.begin >= begin || anchor >= begin;
        return behind && k.begin >= 0 && k.end <= a.position + 1 ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        const Spans s = spans(a, b);
        return ATTENTA_ABI::hull(s.first, s.second);
    }

private:
    std::int64_t begin_of(std::int64_t position) const { return Chunks{block}.begin_of(position); }
    /// Of the rows from a to b.
    Spans spans(const QueryRow& a, const QueryRow& b) const {
        const std::int64_t begin = b.position >= context ? 0 : begin_of(a.position);
        return {{0, std::min(anchor, begin)}, {begin, saturating::add(b.position, 1)}};
    }
};

namespace detail {

/// Throws Error. The tokens of the anchor.
inline std::int64_t check_star(const StarOptions& options, std::int64_t keys) {
    const auto require = [](const char* name, std::int64_t n, std::int64_t least, std::int64_t most) {
        if (n < least || n > most)
            fail("star", std::string(name) + " is " + std::to_string(n) + ", needs " + std::to_string(least) + " to " +
                             std::to_string(most));
    };
    require("context", options.context, 1, keys);
    require_at_least("star", "block_size", options.block_size, 1);
    require_at_least("star", "hosts", options.hosts, 1);
    const std::int64_t anchor = options.anchor_size.value_or(options.block_size);
    require("anchor_size", anchor, 0, options.block_size);
    return anchor;
}

}  // namespace detail

/// The pattern for `keys` tokens. Throws Error on options out of range.
inline Mask star_mask(const StarOptions& options, std::int64_t keys) {
    const std::int64_t anchor = detail::check_star(options, keys);
    return StarBlocks{options.context, options.block_size, anchor};
}

/// The keys of host number `host`, none where there are more hosts than blocks. Throws Error on options out of range.
inline Interval star_host(const StarOptions& options, std::int64_t keys, std::int64_t host) {
    detail::check_star(options, keys);
    if (host < 0 || host >= options.hosts)
        fail("star", "host is " + std::to_string(host) + ", needs 0 to " + std::to_string(options.hosts - 1));
    const std::int64_t blocks = (options.context - 1) / options.block_size + 1, each = blocks / options.hosts,
                       longer = blocks % options.hosts;
    const auto first_key = [&](std::int64_t h) {
        return std::min((h * each + std::min(h, longer)) * options.block_size, options.context);
    };
    return {first_key(host), host + 1 == options.hosts ? keys : first_key(host + 1)};
}

/// Throws Error on shapes and options that do not fit; nothing is written then.
void star(const StarInputs& x, const SparseOutputs& out, const StarOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/star.inl>
#endif
