#pragma once

// What the mechanisms on the scan share.
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/scan/request.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The usual factor of the outputs.
inline float scale_or_default(const std::optional<float>& scale, std::int64_t dim) {
    return scale.value_or(1.f / std::sqrt(static_cast<float>(dim)));
}

/// For mechanisms that have nothing of their own to check or to prepare in between.
inline void run_scan(const scan::Request& r, Heads<float> o, LinearState& state, bool check_data, Context& context) {
    scan::check(r, o, state, check_data);
    scan::run(r, o, state, context);
}

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

/// Throws Error unless the tensor was given.
inline void require(const char* function, const char* name, const Heads<const float>& x) {
    if (!x.data) fail(function, std::string(name) + " is null, needs a tensor");
}

/// An array as a tensor, for checks.
inline Heads<const float> tensor_of(const char* function, const char* name, std::span<const float> x) {
    if (!x.data() && !x.empty())
        fail(function, std::string(name) + " is null, has " + std::to_string(x.size()) + " elements to hold");
    return {x.data(), 1, 1, static_cast<std::int64_t>(x.size()), 0, 0};
}

/// State heads of mechanisms with a decay per head: given, or one for each output head.
inline std::int64_t heads_with_decays(const scan::Request& r) {
    if (!r.g.data) return std::max({std::int64_t{1}, r.q.heads, r.k.heads, r.v.heads});
    scan::check_shape(r.function, "g", r.g, r.g.heads, 1, 1);
    return std::max({r.k.heads, r.v.heads, r.g.heads});
}

/// The positions of `tokens` tokens from `offset` on are numbers.
inline void require_offset(const char* function, std::int64_t offset, std::int64_t tokens) {
    const std::int64_t most = std::numeric_limits<std::int64_t>::max() - tokens;
    if (offset < 0) fail(function, "offset is " + std::to_string(offset) + ", needs at least 0");
    if (offset > most)
        fail(function, "offset is " + std::to_string(offset) + ", needs at most " + std::to_string(most) +
                           " in front of " + std::to_string(tokens) + " tokens");
}

inline void require_not_negative(const char* function, const char* name, float x) {
    if (!is_finite(x) || x < 0) fail(function, std::string(name) + " is " + std::to_string(x) + ", needs at least 0");
}

/// For mechanisms whose heads of k and v are those of the state.
inline void require_grouped_queries(const char* function, std::int64_t q, std::int64_t k, std::int64_t v) {
    if (v != k) fail(function, "v has " + std::to_string(v) + " heads, needs the " + std::to_string(k) + " of k");
    if (k > 0 && q % k != 0)
        fail(function, "q has " + std::to_string(q) + " heads, needs a multiple of the " + std::to_string(k) + " of k");
}

/// For mechanisms without grouped heads.
inline void require_same_heads(const char* function,
                               std::initializer_list<std::pair<const char*, std::int64_t>> tensors,
                               std::int64_t heads) {
    for (const auto& [name, n] : tensors)
        if (n != heads)
            fail(function, std::string(name) + " has " + std::to_string(n) + " heads, needs the " +
                               std::to_string(heads) + " of q");
}

}  // namespace detail

ATTENTA_END
