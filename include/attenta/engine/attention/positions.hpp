// Where queries and keys of a request stand.
#pragma once

#include <attenta/engine/attention/request.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention::checks {

/// Behind the newest key.
inline std::int64_t end_of_positions(const KvView& kv, std::int64_t sequence) {
    if (!kv.positions) return kv.length(sequence);
    std::int64_t end = 0;
    for (std::int64_t h = 0; h < (kv.differs_by_head() ? kv.heads : 1); ++h) {
        const std::int32_t* const positions = kv.positions_of(sequence, h);
        const std::int64_t keys = kv.length(sequence, h);
        if (keys > 0) end = std::max(end, *std::max_element(positions, positions + keys) + std::int64_t{1});
    }
    return end;
}

/// Position of query 0. By default the last query stands where the newest key does.
inline std::int64_t first_position(const Request& r, std::int64_t sequence, std::int64_t queries) {
    if (!r.q_offsets.empty()) return r.q_offsets[static_cast<std::size_t>(sequence)];
    if (r.q_offset) return *r.q_offset;
    std::int64_t end = end_of_positions(r.kv, sequence);
    for (const KvView& kv : r.more) end = std::max(end, end_of_positions(kv, sequence));
    return end - queries;
}

}  // namespace attention::checks

ATTENTA_END
