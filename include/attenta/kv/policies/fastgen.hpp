// FastGen gives each head the cheapest rule that recovers its attention to the prompt. Ge et al. 2024, "Model Tells You
// What to Discard: Adaptive KV Cache Compression for LLMs", section 3.
//
//   rule          some of: special tokens; punctuation; the n_local newest tokens; of the others the n_freq with the most
//                 attention from all queries so far (mean over the group); or `full`: every token
//   recovered     mean over the prompt's queries i of Σ A[i, j] over the rule's tokens j <= i, the local ones those of i
//
// A head takes the first rule that recovers `recovery`, and keeps its tokens from then on. Time O(n) per step, one sum per
// token and K/V head; after the prompt one pass over its column sums, and over its rows if a rule has a local part.
#pragma once

#include <attenta/kv/eviction/attention_mass.hpp>

#include <string>
#include <vector>

ATTENTA_BEGIN

struct FastgenOptions {
    double recovery = 0.95;       ///< share of the attention that a rule must recover, 0 to 1
    double local_ratio = 0.3;     ///< n_local = max(1, floor(local_ratio · prompt)), 0 to 1
    double frequent_ratio = 0.3;  ///< n_freq = ceil(frequent_ratio · prompt), 0 to 1
    /// Rules, cheapest first: special, punct, frequent, local joined by +, and at last full.
    std::vector<std::string> policies = {"special", "special+punct", "special+punct+frequent",
                                         "special+punct+frequent+local", "full"};

    static void fields(auto&& visit, auto& o) {
        visit("recovery", o.recovery, "share of the attention that a rule must recover");
        visit("local_ratio", o.local_ratio, "newest tokens of a rule, as a share of the prompt");
        visit("frequent_ratio", o.frequent_ratio, "tokens with the most attention of a rule, as a share of the prompt");
        visit("policies", o.policies,
              "rules, cheapest first: special, punct, frequent, local joined by +; at last full");
    }
};

class Fastgen final : public EvictionPolicy {
public:
    using Options = FastgenOptions;
    /// Flags by position, 1 of a special token or of punctuation; borrowed.
    Fastgen(const FastgenOptions& options, std::span<const std::uint8_t> special, std::span<const std::uint8_t> punct)
        : options_(options), special_(special), punct_(punct) {}
    /// Flags of more tokens: all since the first, and those that come next.
    void set_flags(std::span<const std::uint8_t> special, std::span<const std::uint8_t> punct) {
        special_ = special;
        punct_ = punct;
    }

    /// The rule of a K/V head, its place in `policies`. After the prompt.
    std::int64_t rule(std::int64_t head) const { return chosen_[static_cast<std::size_t>(head)]; }
    /// What each rule recovers in a K/V head. After the prompt.
    std::span<const double> recovered(std::int64_t head) const {
        return std::span(recovered_).subspan(static_cast<std::size_t>(head) * rules_.size(), rules_.size());
    }

    EvictionNeeds needs(const EvictionShape& shape) override;
    void expect(std::int64_t seen) override;
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    struct Rule {
        bool special = false, punct = false, frequent = false, local = false, full = false;
    };
    static Rule parse(const std::string& name);
    bool names(const Rule& rule, std::int64_t position) const {
        const auto j = static_cast<std::size_t>(position);
        return rule.full || (rule.special && special_[j] != 0) || (rule.punct && punct_[j] != 0);
    }
    std::int64_t choose(const Rule& rule, const HeldTokens& held, std::int64_t newest, float* scores) const;
    std::vector<float> others(const Rule& rule, const HeldTokens& held) const;
    void profile(const EvictionMoment& now, std::span<const HeldTokens> heads);

    FastgenOptions options_;
    std::span<const std::uint8_t> special_, punct_;
    std::vector<Rule> rules_;
    eviction::AttentionMass mass_;
    EvictionShape shape_;
    std::int64_t local_ = 0, frequent_ = 0;
    std::vector<std::int64_t> chosen_;  ///< [heads]
    std::vector<double> recovered_;     ///< [heads, rules]
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/fastgen.inl>
#endif
