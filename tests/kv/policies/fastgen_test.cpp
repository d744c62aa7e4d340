#include <attenta/kv/policies/fastgen.hpp>

#include <string>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Fastgen, attenta::FastgenOptions;

struct Flags {
    std::vector<std::uint8_t> special, punct;

    explicit Flags(const EvictionCase& x) {
        Random random(x.seed + 1000);
        for (std::int64_t t = 0; t < x.sizes.T; ++t) {
            special.push_back(t == 0 || random.chance(0.05));
            punct.push_back(random.chance(0.15));
        }
    }
};

/// No part's name stands in another's.
bool has(const std::string& rule, const char* part) { return rule.find(part) != std::string::npos; }

struct Definition {
    FastgenOptions o;
    Flags flags;

    std::int64_t local(const NaiveCache& c) const {
        return std::max<std::int64_t>(1, static_cast<std::int64_t>(o.local_ratio * static_cast<double>(c.prompt())));
    }
    std::int64_t frequent(const NaiveCache& c) const {
        return static_cast<std::int64_t>(std::ceil(o.frequent_ratio * static_cast<double>(c.prompt())));
    }
    bool is_fixed(const NaiveCache& c, const std::string& rule, std::int64_t j, std::int64_t i) const {
        return rule == "full" || (has(rule, "special") && flags.special[NaiveCache::u(j)]) ||
               (has(rule, "punct") && flags.punct[NaiveCache::u(j)]) || (has(rule, "local") && i - j < local(c));
    }
    /// Of the tokens that are not fixed for query i, those with the most attention from all queries before `seen`.
    Positions heaviest(const NaiveCache& c, const std::string& rule, std::int64_t g, const Positions& held,
                       std::int64_t i, std::int64_t seen) const {
        Positions rest;
        std::vector<double> mass;
        if (!has(rule, "frequent")) return {};
        for (const std::int64_t j : held) {
            if (is_fixed(c, rule, j, i)) continue;
            rest.push_back(j);
            mass.push_back(c.by_group(g, attenta::GroupScore::mean, [&](std::int64_t h) {
                double sum = 0;
                for (std::int64_t n = j; n < seen; ++n) sum += c.a(h, n, j);
                return sum;
            }));
        }
        return c.top(mass, rest, frequent(c));
    }
    double recovered(const NaiveCache& c, const std::string& rule, std::int64_t g) const {
        const std::int64_t P = c.prompt();
        Positions all(NaiveCache::u(P));
        std::iota(all.begin(), all.end(), std::int64_t{0});
        const Positions heavy = heaviest(c, rule, g, all, P - 1, P);
        double sum = 0;
        for (std::int64_t i = 0; i < P; ++i)
            for (std::int64_t j = 0; j <= i; ++j)
                if (is_fixed(c, rule, j, i) || std::binary_search(heavy.begin(), heavy.end(), j))
                    sum += c.by_group(g, attenta::GroupScore::mean, [&](std::int64_t h) { return c.a(h, i, j); });
        return sum / static_cast<double>(P);
    }
    /// The first rule that recovers enough.
    std::string rule_of(const NaiveCache& c, std::int64_t g) const {
        for (const std::string& rule : o.policies) {
            if (rule == "full") break;
            const double share = recovered(c, rule, g);
            c.note(share, o.recovery);
            if (share >= o.recovery) return rule;
        }
        return "full";
    }
    std::vector<Positions> operator()(const NaiveCache& c) const {
        std::vector<Positions> kept;
        for (std::int64_t g = 0; g < std::ssize(c.kept); ++g) {
            const Positions& held = c.kept[NaiveCache::u(g)];
            const std::string rule = rule_of(c, g);
            Positions fixed;
            for (const std::int64_t j : held)
                if (is_fixed(c, rule, j, c.seen - 1)) fixed.push_back(j);
            kept.push_back(c.together(fixed, heaviest(c, rule, g, held, c.seen - 1, c.seen)));
        }
        return kept;
    }
};

std::unique_ptr<attenta::EvictionPolicy> with_flags(const FastgenOptions& options, const EvictionCase& x) {
    static std::deque<Flags> all;  // a policy borrows its own
    const Flags& flags = all.emplace_back(x);
    return std::make_unique<Fastgen>(options, flags.special, flags.punct);
}

[[maybe_unused]] const auto& tested = [] {
    TestedPolicy p{"fastgen", {}};
    const std::pair<const char*, FastgenOptions> variants[] = {
        {"defaults", {}},
        {"little to recover", {.recovery = 0.55, .local_ratio = 0.1, .frequent_ratio = 0.2}},
        {"half", {.recovery = 0.7, .local_ratio = 0.2, .frequent_ratio = 0.15}},
        {"punctuation alone", {.recovery = 0, .policies = {"punct", "full"}}},
        {"newest alone", {.recovery = 0, .local_ratio = 0, .policies = {"local", "full"}}},
        {"frequent alone", {.recovery = 0.3, .policies = {"frequent", "full"}}},
        {"local and special",
         {.recovery = 0.6, .local_ratio = 0.5, .policies = {"special+local", "local+frequent", "full"}}}};
    for (const auto& [name, options] : variants)
        p.variants.push_back({name, [options = options](const EvictionCase& x) { return with_flags(options, x); },
                              [options = options](const EvictionCase& x) -> NaiveKeep {
                                  return Definition{options, Flags(x)};
                              }});
    return tested_policies().emplace_back(std::move(p));
}();

TEST(Fastgen, SaysWhatItsRulesRecover) {
    const EvictionCase x({40, 33, 4, 2, 8, 8}, 4);
    const FastgenOptions options{.recovery = 0.7, .local_ratio = 0.2, .frequent_ratio = 0.15};
    const Flags flags(x);
    Fastgen policy(options, flags.special, flags.punct);
    attenta::Context context;
    run_policy(x, policy, context);
    const Definition definition{options, flags};
    naive_eviction(x, [&](const NaiveCache& c) {
        for (std::int64_t g = 0; g < x.sizes.Hkv; ++g) {
            for (std::size_t r = 0; r < options.policies.size(); ++r)
                EXPECT_NEAR(policy.recovered(g)[r], definition.recovered(c, options.policies[r], g), 1e-5);
            EXPECT_EQ(options.policies[NaiveCache::u(policy.rule(g))], definition.rule_of(c, g));
        }
        return c.kept;
    });
}

TEST(Fastgen, RefusesOptionsThatDoNotFit) {
    const auto needs = [](const FastgenOptions& o) { Fastgen(o, {}, {}).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.recovery = 1.5}); }, {"fastgen", "recovery", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.local_ratio = -0.5}); }, {"fastgen", "local_ratio", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.frequent_ratio = std::nan("")}); }, {"fastgen", "frequent_ratio", "nan"}));
    EXPECT_TRUE(refuses([&] { needs({.policies = {}}); }, {"fastgen", "policies", "full"}));
    EXPECT_TRUE(refuses([&] { needs({.policies = {"full", "special"}}); }, {"fastgen", "policies", "special", "full"}));
    EXPECT_TRUE(refuses(
        [&] {
            needs({.policies = {"special+dots", "full"}});
        },
        {"fastgen", "policies", "dots", "punct"}));
    EXPECT_TRUE(refuses([&] { needs({.policies = {"", "full"}}); }, {"fastgen", "policies", "punct"}));
}

/// Flags must be there before the tokens come, and nothing is appended otherwise.
TEST(Fastgen, RefusesTokensWithoutFlags) {
    const EvictionCase x({6, 4, 2, 1, 8, 8}, 1);
    attenta::KvCache cache({.kv_heads = 1, .dim = 8, .capacity = 6});
    std::vector<std::uint8_t> flags(4);
    Fastgen policy({}, flags, flags);
    attenta::Evictor evictor(cache, policy, {.query_heads = 2});
    const auto prompt = [&] {
        evictor.prompt(x.queries().slice(0, 4), x.keys().slice(0, 4), x.values().slice(0, 4), {});
    };
    std::vector<float> o(2 * 8);
    const auto step = [&] {
        evictor.step(x.queries().slice(4, 1), x.keys().slice(4, 1), x.values().slice(4, 1),
                     attenta::nhd(o.data(), 1, 2, 8));
    };
    policy.set_flags(flags, std::span(flags).first(3));
    EXPECT_TRUE(refuses(prompt, {"fastgen", "punct", "3", "4"}));
    EXPECT_EQ(cache.seen(0), 0);
    policy.set_flags(flags, flags);
    prompt();
    EXPECT_TRUE(refuses(step, {"fastgen", "special", "4", "5"}));
    EXPECT_EQ(cache.seen(0), 4);
    flags.resize(5);
    policy.set_flags(flags, flags);
    step();
    EXPECT_EQ(cache.seen(0), 5);
}

}  // namespace
}  // namespace attenta_test
