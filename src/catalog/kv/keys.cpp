// Policies that look at positions, at keys, or at what a caller knows of tokens; and the score of retrieval heads.
#include <attenta/kv/policies/expected_attention.hpp>
#include <attenta/kv/policies/keydiff.hpp>
#include <attenta/kv/policies/knorm.hpp>
#include <attenta/kv/policies/kvzap.hpp>
#include <attenta/kv/policies/nats.hpp>
#include <attenta/kv/policies/q_filters.hpp>
#include <attenta/kv/policies/random_eviction.hpp>
#include <attenta/kv/policies/retrieval_heads.hpp>
#include <attenta/kv/policies/streaming.hpp>
#include <attenta/kv/retrieval_score.hpp>
#include <attenta/sparse/patterns/token_types.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "../kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void streaming(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto options = args.options<RunOptions<StreamingOptions>>();
    if (options.reposition) run.rotate(options.rope_base, context);
    Streaming policy(options);
    run(policy, options.prompt, options.scale, options.budget, context);
}

void q_filters(Arguments& args, Context& context) {
    EvictionRun run(args);
    if (args.has("filters") == args.has("q_cal")) args.refuse("needs one of the inputs filters and q_cal");
    const std::int64_t heads = run.kv_heads(), dim = run.dim();
    std::vector<float> filters;
    if (args.has("q_cal")) {
        const auto q = args.array<float>("q_cal", {any_size, run.query_heads(), dim});
        filters = calibrate_q_filters(nhd(q.data, q.shape[0], q.shape[1], q.shape[2]), heads);
    } else {
        const auto given = args.array<float>("filters", {heads, dim});
        filters.assign(given.data, given.data + heads * dim);
    }
    const auto options = args.options<RunOptions<QFiltersOptions>>();
    QFilters policy({filters.data(), 1, heads, dim}, options);
    run(policy, options.prompt, options.scale, options.budget, context);
    std::copy(filters.begin(), filters.end(), args.output<float>("filters", {heads, dim}));
}

void expected_attention(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto q = args.array<float>("q_pre", {any_size, run.query_heads(), run.dim()});
    const auto options = args.options<RunOptions<ExpectedAttentionOptions>>();
    if (options.prompt < 1 || options.prompt > q.shape[0])
        args.refuse("prompt is " + std::to_string(options.prompt) + ", needs 1 to the " + std::to_string(q.shape[0]) +
                    " tokens of q_pre");
    ExpectedAttention policy(nhd(q.data, options.prompt, q.shape[1], q.shape[2]), options);
    run(policy, options.prompt, options.scale, options.budget, context);
}

void random_eviction(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto rand = args.array<float>("rand", {run.tokens(), run.kv_heads()});
    const auto options = args.options<RunOptions<RandomEvictionOptions>>();
    RandomEviction policy(nhd(rand.data, run.tokens(), run.kv_heads(), 1), options);
    run(policy, options.prompt, options.scale, options.budget, context);
}

void kvzap(Arguments& args, Context& context) {
    EvictionRun run(args);
    if (args.has("score") == args.has("hidden")) args.refuse("needs one of the inputs score and hidden");
    const std::int64_t tokens = run.tokens(), heads = run.kv_heads();
    std::vector<float> score;
    if (args.has("hidden")) {
        const auto net = args.inputs<KvzapInputs>();
        score = kvzap_scores(net);
        if (std::ssize(score) != tokens * heads || net.hidden.rows != tokens)
            args.refuse("hidden and the net give " + std::to_string(score.size()) + " scores for " +
                        std::to_string(net.hidden.rows) + " tokens, needs one for each of " + std::to_string(tokens) +
                        " tokens and " + std::to_string(heads) + " K/V heads");
    } else {
        const auto given = args.array<float>("score", {tokens, heads});
        score.assign(given.data, given.data + tokens * heads);
    }
    const auto options = args.options<RunOptions<KvzapOptions>>();
    Kvzap policy(nhd<const float>(score.data(), tokens, heads, 1), options);
    run(policy, options.prompt, options.scale, tokens, context);
}

void retrieval_heads(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto head_score = args.vector<float>("head_score");
    const auto options = args.options<RunOptions<RetrievalHeadsOptions>>();
    RetrievalHeads policy(head_score, options);
    run(policy, options.prompt, options.scale, run.tokens(), context);
    const auto full = full_heads(head_score, {.query_heads = run.query_heads(), .kv_heads = run.kv_heads()}, options);
    std::copy(full.begin(), full.end(), args.output<std::int64_t>("full", {run.kv_heads()}));
}

/// There is no prompt: all tokens are read under the mask that decoding them one by one would give.
struct NatsRunOptions : NatsOptions {
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        NatsOptions::fields(visit, o);
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

void nats(Arguments& args, Context& context) {
    EvictionRun run(args);
    if (args.has("types") == args.has("logits")) args.refuse("needs one of the inputs types and logits");
    const std::int64_t tokens = run.tokens(), heads = run.kv_heads(), dim_v = run.v().dim;
    const auto* given = args.has("types") ? args.array<std::int64_t>("types", {heads, tokens}).data : nullptr;
    const auto* logits = given ? nullptr : args.array<float>("logits", {heads, tokens, 3}).data;
    const auto options = args.options<NatsRunOptions>();
    const std::vector<std::int64_t> types =
        given ? nats_types(hnd(given, heads, tokens, 1), options) : nats_types(hnd(logits, heads, tokens, 3), options);
    const auto of_keys = hnd(types.data(), heads, tokens, 1);
    Nats policy(of_keys, options);
    run.kept_of_prompt(policy, options.scale, context);
    TokenTypesOutputs out{
        {.o = nhd(args.output<float>("o", {tokens, run.query_heads(), dim_v}), tokens, run.query_heads(), dim_v)}};
    token_types({run.q(), KvView::of(run.k(), run.v()), of_keys}, out,
                {.window = options.window, .scale = options.scale}, context);
    std::copy(types.begin(), types.end(), args.output<std::int64_t>("types", {heads, tokens}));
}

void retrieval_scores(Arguments& args, Context& context) {
    const auto q = args.array<float>("q", {any_size, any_size, any_size});
    const auto k = args.array<float>("k", {q.shape[0], any_size, q.shape[2]});
    const auto tokens = args.vector<std::int64_t>("tokens");
    const auto options = args.options<RetrievalScoreOptions>();
    const RetrievalScoreOutputs out{args.output<float>("score", {q.shape[1]}),
                                    args.output<float>("score_set", {q.shape[1]})};
    retrieval_score(
        {nhd(q.data, q.shape[0], q.shape[1], q.shape[2]), nhd(k.data, k.shape[0], k.shape[1], k.shape[2]), tokens}, out,
        options, context);
}

}  // namespace

std::vector<Mechanism> key_policy_rows() {
    Mechanism nats_row = policy_row<Nats>({.name = "nats",
                                           .summary = "each token says whether it is global, local or sliding",
                                           .source = "Deng and Lindauer 2025, Neural Attention Search",
                                           .cost = "O(n) per step, two floats per token and K/V head",
                                           .inputs = ", (types [Hkv, T] I64, logits [Hkv, T, 3])"},
                                          nats);
    nats_row.outputs = "o [T, Hq, Dv], kept [Hkv, T] I64, types [Hkv, T] I64";
    nats_row.parameters = parameters_of<NatsRunOptions>;
    return {
        policy_row<Streaming>({.name = "streaming",
                               .summary = "the first tokens and the newest ones stay",
                               .source = "Xiao et al. 2024, StreamingLLM, 3.2",
                               .cost = "O(1) per step, no state"},
                              streaming),
        policy_row<Knorm>({.name = "knorm",
                           .summary = "keys of large norm go",
                           .source = "Devoto et al. 2024, L2 norm-based strategy",
                           .cost = "O(D) per new token, one float per token and K/V head"}),
        policy_row<Keydiff>({.name = "keydiff",
                             .summary = "keys most similar to the mean direction of those held go",
                             .source = "Park et al. 2025, KeyDiff",
                             .cost = "O(n·D) per step, one float per token and K/V head"}),
        policy_row<QFilters>({.name = "q_filters",
                              .summary = "keys along the main direction of the queries stay",
                              .source = "Godey et al. 2025, Q-Filters",
                              .cost = "O(D) per new token, one float per token and K/V head",
                              .inputs = ", (filters [Hkv, D], q_cal [N, Hq, D])",
                              .outputs = ", filters [Hkv, D]"},
                             q_filters),
        policy_row<ExpectedAttention>({.name = "expected_attention",
                                       .summary = "tokens stay that future queries are expected to look at",
                                       .source = "NVIDIA kvpress 2025, Expected Attention",
                                       .cost = "O(n·D²) per step and query head, D² floats per query head",
                                       .inputs = ", q_pre [P, Hq, D]"},
                                      expected_attention),
        nats_row,
        policy_row<RetrievalHeads>({.name = "retrieval_heads",
                                    .summary = "retrieval heads keep everything, others the first and newest tokens",
                                    .source = "Xiao et al. 2024, DuoAttention; Wu et al. 2024",
                                    .cost = "O(1) per step, no state",
                                    .inputs = ", head_score [Hkv] or [Hq]",
                                    .outputs = ", full [Hkv] I64"},
                                   retrieval_heads),
        {.name = "retrieval_score",
         .family = "kv",
         .summary = "how much of a needle in the text each head copies",
         .source = "Wu et al. 2024, Retrieval Head, section 2",
         .cost = "Hq·(T − prompt)·T·D",
         .inputs = "q [T, Hq, D], k [T, Hkv, D], tokens [T] I64",
         .outputs = "score [Hq], score_set [Hq]",
         .parameters = parameters_of<RetrievalScoreOptions>,
         .call = retrieval_scores},
        policy_row<Kvzap>({.name = "kvzap",
                           .summary = "tokens that a small net scores below a threshold go once they leave a window",
                           .source = "NVIDIA 2026, KVzap; Łańcucki et al. 2025",
                           .cost = "E·F per token for the net, O(n) per step, one float per token and K/V head",
                           .inputs = ", (score [T, Hkv], hidden [T, E], w1 [E, F], b1 [F], w2 [F, Hkv], b2 [Hkv])"},
                          kvzap),
        policy_row<RandomEviction>({.name = "random_eviction",
                                    .summary = "tokens with the largest numbers of the caller's stay",
                                    .source = "baseline",
                                    .cost = "O(n) per step, one float per token and K/V head",
                                    .inputs = ", rand [T, Hkv]"},
                                   random_eviction),
    };
}

}  // namespace rows

ATTENTA_END
