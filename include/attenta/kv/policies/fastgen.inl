#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/policies/fastgen.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

ATTENTA_BEGIN

ATTENTA_INLINE Fastgen::Rule Fastgen::parse(const std::string& name) {
    Rule rule;
    if (name == "full") return {.full = true};
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = std::min(name.find('+', at), name.size());
        const std::string part = name.substr(at, end - at);
        bool* const has = part == "special"    ? &rule.special
                          : part == "punct"    ? &rule.punct
                          : part == "frequent" ? &rule.frequent
                          : part == "local"    ? &rule.local
                                               : nullptr;
        if (!has)
            fail("fastgen", "policies has '" + name + "', needs special, punct, frequent, local joined by +, or full");
        *has = true;
        at = end + 1;
    }
    return rule;
}

ATTENTA_INLINE EvictionNeeds Fastgen::needs(const EvictionShape& shape) {
    const char* const f = "fastgen";
    for (const auto& [name, x] : {std::pair{"recovery", options_.recovery},
                                  {"local_ratio", options_.local_ratio},
                                  {"frequent_ratio", options_.frequent_ratio}})
        if (!(x >= 0 && x <= 1)) fail(f, std::string(name) + " is " + std::to_string(x) + ", needs 0 to 1");
    if (options_.policies.empty() || options_.policies.back() != "full")
        fail(f, "policies end with '" + (options_.policies.empty() ? "" : options_.policies.back()) +
                    "', needs full as the last");
    rules_.clear();
    for (const std::string& name : options_.policies) rules_.push_back(parse(name));
    shape_ = shape;
    return {.columns = mass_.columns(shape) + 1, .weights = true};
}

ATTENTA_INLINE void Fastgen::expect(std::int64_t seen) {
    for (const auto& [name, flags] : {std::pair{"special", special_}, {"punct", punct_}})
        if (std::ssize(flags) < seen)
            fail("fastgen", std::string(name) + " has " + std::to_string(flags.size()) + " flags, needs those of " +
                                std::to_string(seen) + " tokens");
}

ATTENTA_INLINE void Fastgen::observe(const EvictionMoment& now, std::span<const HeldTokens> heads) {
    mass_.add(now, heads);
    if (now.prompt) profile(now, heads);
}

ATTENTA_INLINE void Fastgen::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                   std::span<EvictionChoice> choices) {
    for (const HeldTokens& held : heads) {
        float* const scores = held.column(mass_.columns(shape_));
        const std::int64_t keep = choose(rules_[static_cast<std::size_t>(rule(held.head))], held, now.seen - 1, scores);
        choices[static_cast<std::size_t>(held.head)] = {.scores = scores, .keep = keep};
    }
}

/// How many tokens a rule keeps for the query at position `newest`. The score of those that it names is infinity, that of the
/// others their mass.
ATTENTA_INLINE std::int64_t Fastgen::choose(const Rule& rule, const HeldTokens& held, std::int64_t newest,
                                            float* scores) const {
    const float* const mass = mass_.of(held, shape_);
    std::int64_t named = 0;
    for (std::int64_t i = 0; i < held.size(); ++i) {
        const std::int64_t position = held.positions[static_cast<std::size_t>(i)];
        const bool stays = names(rule, position) || (rule.local && newest - position < local_);
        named += stays ? 1 : 0;
        scores[i] = stays ? std::numeric_limits<float>::infinity() : mass[i];
    }
    return named + (rule.frequent ? std::min(frequent_, held.size() - named) : 0);
}

/// Of the prompt: 0 for tokens that a rule keeps whatever the query, 1 for those that it keeps while they are local, or never.
ATTENTA_INLINE std::vector<float> Fastgen::others(const Rule& rule, const HeldTokens& held) const {
    const std::int64_t n = held.size();
    float* const scores = held.column(mass_.columns(shape_));
    const std::int64_t keep = choose(rule, held, n - 1, scores);
    if (std::any_of(scores, scores + n, is_nan))
        fail("fastgen", "attention to the prompt in head " + std::to_string(held.head) +
                            " is not a number, needs finite queries and keys");
    std::vector<std::int32_t> order(held.slots.begin(), held.slots.end());
    std::nth_element(order.begin(), order.begin() + keep, order.end(), [&](std::int32_t a, std::int32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : a > b;
    });
    std::vector<float> others(order.size(), 1.f);
    for (std::int64_t rank = 0; rank < keep; ++rank)
        if (const std::int64_t j = order[static_cast<std::size_t>(rank)];
            names(rule, j) || !rule.local || n - 1 - j >= local_)
            others[static_cast<std::size_t>(j)] = 0.f;
    return others;
}

ATTENTA_INLINE void Fastgen::profile(const EvictionMoment& now, std::span<const HeldTokens> heads) {
    const auto prompt = static_cast<double>(now.seen);
    const std::int64_t group = shape_.group();
    const std::size_t rules = rules_.size();
    local_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(options_.local_ratio * prompt));
    frequent_ = static_cast<std::int64_t>(std::ceil(options_.frequent_ratio * prompt));
    recovered_.assign(heads.size() * rules, 0.);
    std::vector<std::vector<float>> locals(recovered_.size());  // of rules with a local part
    bool any_local = false;
    for (const HeldTokens& held : heads)
        for (std::size_t r = 0; r < rules; ++r) {
            const std::size_t at = static_cast<std::size_t>(held.head) * rules + r;
            std::vector<float> rest = others(rules_[r], held);
            const float* const mass = mass_.of(held, shape_);
            for (std::size_t j = 0; j < rest.size(); ++j)
                if (rest[j] == 0) recovered_[at] += mass[j] / prompt;
            if (!rules_[r].local) continue;
            locals[at] = std::move(rest);
            any_local = true;
        }
    const auto add_local = [&](std::int64_t head, std::int64_t query, std::span<const float> weights) {
        for (std::size_t r = 0; r < rules; ++r) {
            const std::size_t at = static_cast<std::size_t>(head / group) * rules + r;
            if (locals[at].empty()) continue;
            const auto first = static_cast<std::ptrdiff_t>(std::max<std::int64_t>(0, query - local_ + 1));
            recovered_[at] += std::inner_product(weights.begin() + first, weights.begin() + query + 1,
                                                 locals[at].begin() + first, 0.) /
                              (prompt * static_cast<double>(group));
        }
    };
    if (any_local) now.attention->rows(0, now.seen, add_local);
    chosen_.resize(heads.size());
    for (std::size_t g = 0; g < heads.size(); ++g) {
        std::size_t r = 0;
        while (!rules_[r].full && !(recovered_[g * rules + r] >= options_.recovery)) ++r;
        chosen_[g] = static_cast<std::int64_t>(r);
    }
}

ATTENTA_END
