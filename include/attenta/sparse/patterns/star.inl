#pragma once

#include <attenta/sparse/patterns/star.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The keys of one host.
struct HostKeys {
    Interval keys;

    Spans spans(const QueryRow&) const { return {keys, {}}; }
    Cover classify(const QueryRow&, const QueryRow&, const KeyBlock& block) const {
        const Interval k = block.range();
        if (intersect(k, keys).empty()) return Cover::none;
        return k.begin >= keys.begin && k.end <= keys.end ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow&) const { return keys; }
};

}  // namespace detail

ATTENTA_INLINE void star(const StarInputs& x, const SparseOutputs& out, const StarOptions& options, Context& context) {
    const auto call = detail::check_sparse("star", x, out, options, Positions::last, context);
    const Mask mask = star_mask(options, call.keys());
    if (options.hosts == 1) {
        call.attend(mask);
    } else {
        std::vector<Interval> hosts = {star_host(options, call.keys(), options.hosts - 1)};
        for (std::int64_t h = 0; h < std::min(options.hosts - 1, call.keys()); ++h)
            if (const Interval host = star_host(options, call.keys(), h); !host.empty()) hosts.push_back(host);
        detail::SparseParts parts(call, static_cast<std::int64_t>(hosts.size()));
        for (const Interval& host : hosts) {
            attention::Request part = detail::part_of(call, nullptr, mask);
            part.masks.push_back(detail::HostKeys{host});
            parts.add(part);
        }
        parts.merge();
    }
    detail::give_lists(call, mask);
}

ATTENTA_END
