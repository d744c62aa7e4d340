// Documents as disjoint ranges of keys.
#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// Document d as the range of group d, in the order of the keys. Throws Error on one that is empty, reaches beyond `keys` or overlaps
/// another.
inline void document_ranges(const Check& check, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
                            std::int64_t keys, std::vector<KeyRange>& to) {
    check.token_ranges("document", start, end, 0, keys);
    to.clear();
    for (std::size_t d = 0; d < start.size(); ++d) to.push_back({start[d], end[d], static_cast<std::int64_t>(d)});
    std::sort(to.begin(), to.end(), [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < to.size(); ++i)
        if (to[i].begin < to[i - 1].end)
            check.refuse("document " + checks::text(to[i].group) + " starts at " + checks::text(to[i].begin) +
                         ", needs to start behind document " + checks::text(to[i - 1].group) + ", which ends at " +
                         checks::text(to[i - 1].end));
}

}  // namespace analysis

ATTENTA_END
