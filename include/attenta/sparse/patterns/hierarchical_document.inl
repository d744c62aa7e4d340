#pragma once

#include <attenta/sparse/patterns/hierarchical_document.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct GroupsMask {
    const std::int64_t* numbers;  ///< [levels, tokens]
    std::int64_t levels, tokens;
    bool causal;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        for (std::int64_t i = 0; i < keys.count; i += 64) {
            const KeyBlock part = keys.slice(i, std::min<std::int64_t>(64, keys.count - i));
            std::uint64_t seen = 0;
            for (std::int64_t l = 0; l < levels; ++l) seen |= members(numbers + l * tokens, r.position, part);
            words[i / 64] &= seen;
        }
        if (causal) mask_bits(Causal{}, r, keys, words);
    }
    /// Looks for a level that shows all of a tile; that none shows any of it is not found out: lists name no such keys.
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Cover order = causal ? Causal{}.classify(a, b, keys) : Cover::all;
        if (order != Cover::all) return order;
        for (std::int64_t l = 0; l < levels; ++l)
            if (is_one_group(numbers + l * tokens, a.position, b.position, keys)) return Cover::all;
        return Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow& b) const {
        return {0, causal ? saturating::add(b.position, 1) : tokens};
    }

private:
    static std::uint64_t members(const std::int64_t* level, std::int64_t token, const KeyBlock& keys) {
        std::uint64_t word = 0;
        if (level[token] == DocumentGroups::none) return word;
        for (std::int64_t i = 0; i < keys.count; ++i)
            word |= std::uint64_t{level[keys.position(i)] == level[token]} << i;
        return word;
    }
    static bool is_one_group(const std::int64_t* level, std::int64_t first, std::int64_t last, const KeyBlock& keys) {
        const std::int64_t group = level[first];
        if (group == DocumentGroups::none) return false;
        for (std::int64_t i = first + 1; i <= last; ++i)
            if (level[i] != group) return false;
        for (std::int64_t i = 0; i < keys.count; ++i)
            if (level[keys.position(i)] != group) return false;
        return true;
    }
};

}  // namespace detail

ATTENTA_INLINE DocumentGroups::DocumentGroups(Heads<const std::int64_t> keep, Heads<const std::int64_t> group)
    : levels_(keep.heads), tokens_(keep.tokens) {
    if (group.heads != levels_ || group.tokens != tokens_)
        fail("DocumentGroups", "group is [" + std::to_string(group.heads) + ", " + std::to_string(group.tokens) +
                                   "], needs the [" + std::to_string(levels_) + ", " + std::to_string(tokens_) +
                                   "] of keep");
    numbers_.resize(static_cast<std::size_t>(saturating::multiply(levels_, tokens_)), none);
    for (std::int64_t l = 0; l < levels_; ++l) {
        std::map<std::int64_t, std::int64_t> known;
        for (std::int64_t t = 0; t < tokens_; ++t) {
            if (*keep.row(l, t) == 0) continue;
            const auto next = static_cast<std::int64_t>(members_.size());
            const auto [entry, is_new] = known.emplace(*group.row(l, t), next);
            if (is_new) members_.emplace_back();
            numbers_.data()[l * tokens_ + t] = entry->second;
            members_.data()[entry->second].push_back(t);
        }
    }
}

ATTENTA_INLINE Mask DocumentGroups::mask(bool causal) const {
    return detail::GroupsMask{numbers_.data(), levels_, tokens_, causal};
}

/// For each block of queries the members of all groups that its queries are in.
ATTENTA_INLINE KeyLists DocumentGroups::lists(bool causal, std::int64_t query_block) const {
    KeyLists lists({.queries = tokens_, .keys = tokens_, .query_block = query_block});
    const KeyLists::Shape& shape = lists.shape();
    std::vector<std::int64_t> groups, keys;
    const auto make_unique = [](std::vector<std::int64_t>& x) {
        std::sort(x.begin(), x.end());
        x.erase(std::unique(x.begin(), x.end()), x.end());
    };
    for (std::int64_t row = 0; row < shape.rows(); ++row) {
        const std::int64_t first = shape.query(row, 0), end = first + shape.queries_of(row);
        groups.clear();
        keys.clear();
        for (std::int64_t l = 0; l < levels_; ++l)
            for (std::int64_t i = first; i < end; ++i)
                if (of(l, i) != none) groups.push_back(of(l, i));
        make_unique(groups);
        for (const std::int64_t g : groups)
            for (const std::int64_t j : members(g))
                if (!causal || j < end) keys.push_back(j);
        make_unique(keys);
        for (const std::int64_t j : keys) lists.add(j, 1);
        lists.end_list();
    }
    return lists;
}

ATTENTA_INLINE void hierarchical_document(const HierarchicalDocumentInputs& x, const SparseOutputs& out,
                                          const HierarchicalDocumentOptions& options, Context& context) {
    const auto call = detail::check_sparse("hierarchical_document", x, out, options, Positions::same, context);
    const DocumentGroups groups(x.keep, x.group);
    call.attend(groups.lists(options.causal), groups.mask(options.causal));
}

ATTENTA_END
