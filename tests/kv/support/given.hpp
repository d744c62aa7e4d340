// Policies that score tokens one by one, or by numbers that a caller gives.
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policy.hpp"

namespace attenta_test {

/// n numbers of a case, the same for the same case, which stay as long as the program.
inline std::span<const float> given_numbers(const EvictionCase& x, std::int64_t n) {
    static std::deque<std::vector<float>> all;
    return all.emplace_back(Random(x.seed + 1000).normals(n));
}

/// As test_policy: make(const EvictionCase&, const Options&) gives a policy with inputs of the case.
template <class Policy, auto make, auto definition>
TestedPolicy& test_given_policy(std::string name,
                                std::vector<std::pair<std::string, typename Policy::Options>> variants) {
    TestedPolicy p{std::move(name), {}, false};
    for (const auto& [words, options] : variants)
        p.variants.push_back({words,
                              [options = options](const EvictionCase& x) -> std::unique_ptr<attenta::EvictionPolicy> {
                                  return make(x, options);
                              },
                              [options = options](const EvictionCase&) -> NaiveKeep {
                                  return [options](const NaiveCache& c) { return definition(c, options); };
                              }});
    return tested_policies().emplace_back(std::move(p));
}

/// The `recent` newest tokens of each head, and of the others the best by score(head, position), until `budget` are kept.
template <class Score>
std::vector<Positions> keep_best(const NaiveCache& c, std::int64_t budget, std::int64_t recent, Score&& score) {
    std::vector<Positions> kept = c.kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= budget) continue;
        const auto [old, newest] = c.without_recent(g, recent);
        std::vector<double> scores;
        for (const std::int64_t j : old) scores.push_back(score(g, j));
        held = c.together(c.top(scores, old, budget - recent), newest);
    }
    return kept;
}

inline double naive_norm(const float* x, std::int64_t n) {
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) squares += double{x[i]} * double{x[i]};
    return std::sqrt(squares);
}

}  // namespace attenta_test
