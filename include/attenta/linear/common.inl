#pragma once

// What the mechanisms on the scan share.
#include <attenta/core/error.hpp>
#include <attenta/engine/scan/request.hpp>
#include <attenta/linear/common.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
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

/// The keys of a request that is not causal, which the state takes up, and then the queries, which read it: what stands
/// between the two may look at the sums of all keys.
inline scan::Request keys_alone(scan::Request r) {
    r.q = r.q.slice(0, 0);
    return r;
}
inline scan::Request queries_alone(scan::Request r) {
    r.k = r.k.slice(0, 0);
    r.v = r.v.slice(0, 0);
    r.normalizer = false;
    return r;
}

inline constexpr float lowest_float = std::numeric_limits<float>::lowest();

/// Sums of weights, Σ_j φ(q_i)·φ(k_j): a run whose values are 1 and whose state is the normalizer.
inline scan::Request weights_alone(scan::Request r) {
    static constexpr float one = 1;
    r.v = {&one, r.v.heads, r.k.tokens, 1, 0, 0};
    r.finish = {};
    r.normalizer = false;
    return r;
}
/// Into sums [Hq, Tq, 1]. The memory of the run and the state's have been taken before.
inline void sum_weights(const scan::Request& r, Heads<float> sums, LinearState& state, Context& context) {
    LinearState z;
    z.heads = state.heads, z.dim = state.dim, z.dim_v = 1;
    z.matrix.swap(state.normalizer);
    scan::run(weights_alone(r), sums, z, context);
    z.matrix.swap(state.normalizer);
}

/// All memory of a call on `requests`, one after the other, whose first describes the state, with a number for each of its
/// heads in state.weight: no run needs more.
inline void begin_with_weight(std::span<const scan::Request> requests, LinearState& state, Context& context) {
    for (const scan::Request& r : requests) scan::reserve(r, context);
    const auto heads = static_cast<std::size_t>(requests[0].k.heads);
    std::vector<float> weight;
    if (state.weight.size() != heads) weight.resize(heads);
    scan::begin_state(requests[0], state);
    if (!weight.empty()) state.weight.swap(weight);
}
inline void require_weight(const char* function, const LinearState& state) {
    if (!state.empty() && static_cast<std::int64_t>(state.weight.size()) != state.heads)
        fail(function, "state.weight has " + std::to_string(state.weight.size()) + " elements, needs " +
                           std::to_string(state.heads));
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
