// Which pairs of a query and a key a policy or a selection keeps, for whoever walks over the weights.
#pragma once

#include <cstdint>
#include <span>

namespace view {

class KeptPairs {
public:
    virtual ~KeptPairs() = default;
    /// kept[i]: query number `query` of a query head reads key first + i. Keys that the query cannot see do not matter.
    virtual void row(std::int64_t head, std::int64_t query, std::int64_t first, std::span<bool> kept) const = 0;
};

}  // namespace view
