// Policies with a budget for each layer or head, and merging.
#include <attenta/core/saturating.hpp>
#include <attenta/kv/policies/ada_kv.hpp>
#include <attenta/kv/policies/defensive_kv.hpp>
#include <attenta/kv/policies/kv_merge.hpp>
#include <attenta/kv/policies/lagkv.hpp>
#include <attenta/kv/policies/pyramidkv.hpp>
#include <attenta/kv/token_pooling.hpp>
#include <attenta/sparse/documents/maxsim.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include "../kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_pyramidkv(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto options = args.options<RunOptions<PyramidkvOptions>>();
    Pyramidkv policy(options);
    const std::int64_t prompt = std::clamp<std::int64_t>(options.prompt, 0, run.tokens()),
                       capacity = policy.capacity(prompt);
    run(policy, options.prompt, options.scale, saturating::add(capacity, run.tokens() - prompt), context,
        [&](const Evictor&) { *args.output<std::int64_t>("capacity", {1}) = capacity; });
}

/// Output `head_budget`: tokens that each head holds after the prompt.
template <class Options>
void run_shared(Arguments& args, EvictionRun& run, EvictionPolicy& policy, const RunOptions<Options>& options,
                Context& context) {
    run(policy, options.prompt, options.scale, run.tokens(), context, [&](const Evictor& evictor) {
        auto* const budgets = args.output<std::int64_t>("head_budget", {run.kv_heads()});
        for (std::int64_t g = 0; g < run.kv_heads(); ++g) budgets[g] = std::ssize(evictor.kept(g));
    });
}

void call_ada_kv(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto options = args.options<RunOptions<AdaKvOptions>>();
    AdaKv policy(options);
    run_shared(args, run, policy, options, context);
}

void call_defensive_kv(Arguments& args, Context& context) {
    EvictionRun run(args);
    std::span<const float> value_norm;
    if (args.has("value_norm"))
        value_norm = {args.array<float>("value_norm", {run.tokens(), run.kv_heads()}).data,
                      static_cast<std::size_t>(run.tokens() * run.kv_heads())};
    const auto options = args.options<RunOptions<DefensiveKvOptions>>();
    DefensiveKv policy(options, value_norm);
    run_shared(args, run, policy, options, context);
}

/// Columns of `kept` where nothing is evicted in decoding.
template <class Options>
std::int64_t growing_width(const Options& options, std::int64_t steps) {
    return saturating::add(options.budget, steps);
}

void call_kv_merge(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto options = args.options<RunOptions<KvMergeOptions>>();
    KvMerge policy(options);
    run(policy, options.prompt, options.scale, std::min(options.prompt, options.budget), context, [&](const Evictor&) {
        auto* into = args.output<std::int64_t>("into", {run.kv_heads(), options.prompt});
        for (std::int64_t g = 0; g < run.kv_heads(); ++g)
            into = std::copy(policy.into(g).begin(), policy.into(g).end(), into);
    });
}

struct PooledRunOptions : PooledLayerOptions {
    std::int64_t prompt = 1;

    static void fields(auto&& visit, auto& o) {
        visit("prompt", o.prompt, "tokens before decoding begins");
        PooledLayerOptions::fields(visit, o);
    }
};

void pool_document(Arguments& args, Context& context) {
    const auto x = args.array<float>("x", {any_size, any_size});
    Array<float> xq;
    if (args.has("xq")) xq = args.array<float>("xq", {any_size, x.shape[1]});
    const PooledTokens result = token_pooling({x.data, 1, x.shape[0], x.shape[1]}, args.options<TokenPoolingOptions>());
    const std::int64_t D = x.shape[1], M = std::ssize(result.pooled) / D;
    std::copy(result.pooled.begin(), result.pooled.end(), args.output<float>("pooled", {M, D}));
    std::copy(result.labels.begin(), result.labels.end(), args.output<std::int64_t>("labels", {x.shape[0]}));
    const std::array<std::int64_t, 2> one_document{0, M};
    if (xq.data)
        maxsim({{xq.data, 1, xq.shape[0], D}, {result.pooled.data(), 1, M, D}, one_document},
               {args.output<float>("score", {1})}, {}, context);
}

void pool_cache(Arguments& args, Context& context) {
    const auto q = args.array<float>("q", {any_size, any_size, any_size});
    const auto k = args.array<float>("k", {q.shape[0], any_size, q.shape[2]});
    const auto v = args.array<float>("v", {q.shape[0], k.shape[1], any_size});
    auto options = args.options<PooledRunOptions>();
    const std::int64_t T = q.shape[0], Hq = q.shape[1], Hkv = k.shape[1], D = q.shape[2], Dv = v.shape[2],
                       P = options.prompt;
    if (P < 1 || P > T)
        args.refuse("prompt is " + std::to_string(P) + ", needs 1 to the " + std::to_string(T) + " tokens of q");
    const auto queries = nhd(q.data, T, Hq, D), keys = nhd(k.data, T, Hkv, D), values = nhd(v.data, T, Hkv, Dv);
    KvCache cache({.kv_heads = Hkv, .dim = D, .dim_v = Dv, .capacity = T});
    options.query_heads = Hq;
    PooledLayer layer(cache, options);
    layer.prompt(keys.slice(0, P), values.slice(0, P), context);
    float* const o = args.output<float>("o", {T - P, Hq, Dv});
    for (std::int64_t t = P; t < T; ++t)
        layer.step(queries.slice(t, 1), keys.slice(t, 1), values.slice(t, 1), nhd(o + (t - P) * Hq * Dv, 1, Hq, Dv),
                   context);
    auto* labels = args.output<std::int64_t>("labels", {Hkv, P});
    for (std::int64_t g = 0; g < Hkv; ++g) labels = std::copy(layer.labels(g).begin(), layer.labels(g).end(), labels);
}

void call_token_pooling(Arguments& args, Context& context) {
    args.has("x") ? pool_document(args, context) : pool_cache(args, context);
}

}  // namespace

std::vector<Mechanism> budget_policy_rows() {
    return {
        policy_row<Pyramidkv>({.name = "pyramidkv",
                               .summary = "snapkv with a budget that falls from layer to layer",
                               .source = "Cai et al. 2024, PyramidKV, section 4",
                               .cost = "window·P·D after the prompt, no state",
                               .outputs = ", capacity [1] I64"},
                              call_pyramidkv),
        policy_row<AdaKv>({.name = "ada_kv",
                           .summary = "snapkv whose heads share the budget of a layer by their scores",
                           .source = "Feng et al. 2024, Ada-KV, algorithms 1 and 2",
                           .cost = "window·P·D after the prompt, no state",
                           .outputs = ", head_budget [Hkv] I64"},
                          call_ada_kv),
        policy_row<DefensiveKv>({.name = "defensive_kv",
                                 .summary = "a token is worth its best attention in the window, not the average",
                                 .source = "Feng et al. 2026, DefensiveKV, section 4",
                                 .cost = "window·P·D after the prompt, no state",
                                 .inputs = ", (value_norm [T, Hkv])",
                                 .outputs = ", head_budget [Hkv] I64"},
                                call_defensive_kv),
        policy_row<Lagkv>({.name = "lagkv",
                           .summary = "keys and values that lie unevenly in the range of the following ones stay",
                           .source = "Liang et al. 2025, LagKV, section 2",
                           .cost = "P·D after the prompt, no state"},
                          call_policy<Lagkv, growing_width<LagkvOptions>>),
        policy_row<KvMerge>({.name = "kv_merge",
                             .summary = "tokens that snapkv drops go into the kept ones with the most similar keys",
                             .source = "Wan et al. 2024, LOOK-M, 3.3; Wang et al. 2024, KVMerger",
                             .cost = "P·B·D after the prompt, no state",
                             .outputs = ", into [Hkv, P] I64"},
                            call_kv_merge),
        {.name = "token_pooling",
         .family = "kv",
         .summary = "vectors of a document, or keys of a prompt, in clusters (Ward), each replaced by its mean",
         .source = "Clavié et al. 2024, Token Pooling, section 2",
         .cost = "N²·D time, 4·N² bytes",
         .inputs = "(x [N, D], xq [Nq, D], q [T, Hq, D], k [T, Hkv, D], v [T, Hkv, Dv])",
         .outputs = "pooled [M, D], labels [N] I64, score [1] of xq, or o [T - prompt, Hq, Dv], labels [Hkv, P] I64",
         .parameters = parameters_of<PooledRunOptions>,
         .call = call_token_pooling},
    };
}

}  // namespace rows

ATTENTA_END
