#pragma once

// What the mechanisms on the scan share.
#include <attenta/core/error.hpp>
#include <attenta/engine/scan/request.hpp>
#include <attenta/linear/common.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// An array of a call: on the stack up to Few elements, because a decode step must not allocate.
template <class T, std::int64_t Few>
class InlineArray {
public:
    explicit InlineArray(std::int64_t n) {
        if (n > Few) many_.resize(static_cast<std::size_t>(n));
    }
    T* data() const { return many_.empty() ? few_ : many_.data(); }

private:
    mutable T few_[static_cast<std::size_t>(Few)];
    mutable std::vector<T> many_;
};

/// State heads of mechanisms with a decay per head: given, or one for each output head.
inline std::int64_t heads_with_decays(const scan::Request& r) {
    if (!r.g.data) return std::max({std::int64_t{1}, r.q.heads, r.k.heads, r.v.heads});
    return std::max({r.k.heads, r.v.heads, r.g.heads});
}

/// Tokens begin .. begin + count - 1 of q, k and v.
inline scan::Request tokens_of(scan::Request r, std::int64_t begin, std::int64_t count) {
    r.q = r.q.slice(begin, count);
    r.k = r.k.slice(begin, count);
    r.v = r.v.slice(begin, count);
    return r;
}

/// For mechanisms whose heads of k and v are those of the state.
inline void require_grouped_queries(const char* function, std::int64_t q, std::int64_t k, std::int64_t v) {
    if (v != k) fail(function, "v has " + std::to_string(v) + " heads, needs the " + std::to_string(k) + " of k");
    if (k > 0 && q % k != 0)
        fail(function, "q has " + std::to_string(q) + " heads, needs a multiple of the " + std::to_string(k) + " of k");
}

}  // namespace detail

ATTENTA_END
