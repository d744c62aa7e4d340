// Policies that score by what queries gave to tokens: votes, sums, and what their loss would do.
#include <attenta/kv/policies/caote.hpp>
#include <attenta/kv/policies/corm.hpp>
#include <attenta/kv/policies/fastgen.hpp>
#include <attenta/kv/policies/scissorhands.hpp>
#include <attenta/kv/policies/tova.hpp>
#include <attenta/kv/policies/vatp.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "../kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

std::vector<std::uint8_t> flags(Arguments& args, const std::string& input, std::int64_t tokens) {
    const auto given = args.array<std::int64_t>(input, {tokens});
    std::vector<std::uint8_t> flags;
    for (std::int64_t t = 0; t < tokens; ++t) {
        if (given.data[t] != 0 && given.data[t] != 1)
            args.refuse("input '" + input + "' has " + std::to_string(given.data[t]) + " at " + std::to_string(t) +
                        ", expected 0 or 1");
        flags.push_back(static_cast<std::uint8_t>(given.data[t]));
    }
    return flags;
}

void fastgen(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto special = flags(args, "special", run.tokens()), punct = flags(args, "punct", run.tokens());
    const auto options = args.options<RunOptions<FastgenOptions>>();
    Fastgen policy(options, special, punct);
    run(policy, options.prompt, options.scale, run.tokens(), context);
    const std::int64_t rules = std::ssize(options.policies);
    auto* const chosen = args.output<std::int64_t>("policy", {run.kv_heads()});
    float* const recovered = args.output<float>("recovered", {run.kv_heads(), rules});
    for (std::int64_t g = 0; g < run.kv_heads(); ++g) {
        chosen[g] = policy.rule(g);
        const auto of_head = policy.recovered(g);
        std::transform(of_head.begin(), of_head.end(), recovered + g * rules,
                       [](double x) { return static_cast<float>(x); });
    }
}

}  // namespace

std::vector<Mechanism> weights_policy_rows() {
    return {
        policy_row<Scissorhands>({.name = "scissorhands",
                                  .summary = "tokens go that the last queries found unimportant most often",
                                  .source = "Liu et al. 2023, Scissorhands, algorithms 1 and 2",
                                  .cost = "O(n) per step, window bits per token and query head"}),
        policy_row<Tova>({.name = "tova",
                          .summary = "the token goes that the newest query attends to least",
                          .source = "Oren et al. 2024, Transformers are Multi-State RNNs, 3.2",
                          .cost = "O(n) per step, no state"}),
        policy_row<Vatp>({.name = "vatp",
                          .summary = "attention times the L1 norm of the value decides; first and newest tokens stay",
                          .source = "Guo et al. 2024, Attention Score is not All You Need, section 3",
                          .cost = "O(n) per step, as h2o or scissorhands and one norm per token"}),
        policy_row<Caote>({.name = "caote",
                           .summary = "the token goes whose loss changes the attention output least",
                           .source = "Goel et al. 2025, CAOTE, theorems 3.1 and 3.2",
                           .cost = "Hq·n·Dv per step, state of the base policy"}),
        policy_row<Corm>({.name = "corm",
                          .summary = "tokens stay that one of the last queries still needed; no budget",
                          .source = "Dai et al. 2024, CORM, definitions 1 and 2",
                          .cost = "O(n) per step, window bits per token and query head"},
                         call_policy<Corm, all_tokens<CormOptions>>),
        policy_row<Fastgen>(
            {.name = "fastgen",
             .summary = "each head keeps by the cheapest rule that recovers its attention to the prompt",
             .source = "Ge et al. 2024, Model Tells You What to Discard, section 3",
             .cost = "O(n) per step, one sum per token and K/V head",
             .inputs = ", special [T] I64, punct [T] I64",
             .outputs = ", policy [Hkv] I64, recovered [Hkv, rules]"},
            fastgen),
    };
}

}  // namespace rows

ATTENTA_END
