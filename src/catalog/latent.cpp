#include <attenta/latent.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace {

/// A matrix as the only head.
Heads<const float> as_heads(const Array<float>& a) { return hnd(a.data, 1, a.shape[0], a.shape[1]); }

MlaInputs inputs_of(Arguments& args, const Heads<const float>& c_kv) {
    MlaInputs x{.q_nope = args.heads("q_nope"), .q_pe = args.heads("q_pe")};
    x.kv = latent_cache(c_kv, as_heads(args.array<float>("k_pe", {any_size, any_size})));
    x.w_uk = args.heads("w_uk");
    x.w_uv = args.heads("w_uv");
    return x;
}
LatentOutputs outputs_of(Arguments& args, const Heads<const float>& q, std::int64_t dim_v) {
    return {.o = args.output("o", q.heads, q.tokens, dim_v), .lse = args.output<float>("lse", {q.heads, q.tokens})};
}

struct MlaLayerOptions : MlaOptions, MlaProjectOptions {
    std::int64_t past = 0;

    static void fields(auto&& visit, auto& o) {
        MlaOptions::fields(visit, o);
        visit("past", o.past, "tokens of x that only fill the cache");
        visit("eps", o.eps, "of the norms");
        visit("rope_base", o.rope_base, "of the frequencies");
    }
};

/// A layer on hidden states: its projections, then mla for the queries behind the past.
void call_mla_layer(Arguments& args, Context& context) {
    const auto in = args.inputs<MlaProjectInputs>();
    const auto w_uk = args.heads("w_uk"), w_uv = args.heads("w_uv");
    const auto options = args.options<MlaLayerOptions>();
    const std::int64_t tokens = in.x.rows, heads = w_uk.heads, nope = w_uk.tokens, latent = w_uk.dim,
                       rope = std::max<std::int64_t>(in.w_dkv.rows - latent, 0);
    if (options.past < 0 || options.past >= tokens)
        args.refuse("past is " + std::to_string(options.past) + ", needs 0 to fewer than the " +
                    std::to_string(tokens) + " tokens of x");
    std::vector<float> q_nope(static_cast<std::size_t>(heads * tokens * nope)),
        q_pe(static_cast<std::size_t>(heads * tokens * rope));
    const MlaProjections made{hnd(q_nope.data(), heads, tokens, nope), hnd(q_pe.data(), heads, tokens, rope),
                              hnd(args.output<float>("c_kv", {tokens, latent}), 1, tokens, latent),
                              hnd(args.output<float>("k_pe", {tokens, rope}), 1, tokens, rope)};
    mla_project(in, made, options, context);
    const std::int64_t queries = tokens - options.past;
    const MlaInputs x{made.q_nope.slice(options.past, queries), made.q_pe.slice(options.past, queries),
                      latent_cache(made.c_kv, made.k_pe), w_uk, w_uv};
    mla(x, outputs_of(args, x.q_nope, w_uv.tokens), options, context);
}

void call_mla(Arguments& args, Context& context) {
    if (args.has("x")) return call_mla_layer(args, context);
    const MlaInputs x = inputs_of(args, as_heads(args.array<float>("c_kv", {any_size, any_size})));
    const auto options = args.options<MlaOptions>();
    mla(x, outputs_of(args, x.q_nope, x.w_uv.tokens), options, context);
}

void call_grouped_latent(Arguments& args, Context& context) {
    const MlaInputs x = inputs_of(args, args.heads("c_kv"));
    const auto options = args.options<MlaOptions>();
    grouped_latent(x, outputs_of(args, x.q_nope, x.w_uv.tokens), options, context);
}

struct GroupedTiedOptions {
    bool causal = true;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

void call_grouped_tied(Arguments& args, Context& context) {
    const auto q = args.heads("q");
    const KvView kv = tied_cache(args.heads("kv"), as_heads(args.array<float>("k_pe", {any_size, any_size})));
    const auto options = args.options<GroupedTiedOptions>();
    if (options.causal && q.tokens > kv.tokens)
        args.refuse("q has " + std::to_string(q.tokens) + " tokens, needs at most the " + std::to_string(kv.tokens) +
                    " of kv");
    const LatentOutputs out = outputs_of(args, q, kv.v.dim);
    grouped_tied(q, kv, out.o, {.scale = options.scale, .causal = options.causal}, out.lse, context);
}

void call_mtla(Arguments& args, Context& context) {
    const auto x = args.inputs<MtlaInputs>();
    const auto options = args.options<MtlaOptions>();
    MtlaCache cache;
    mtla(x, outputs_of(args, x.q_nope, x.w_uv.tokens), cache, options, context);
    const std::int64_t runs = cache.rows(), latent = cache.latent(), rope = cache.rope();
    float* state = args.output<float>("state", {runs, latent});
    float* keys = args.output<float>("state_k_pe", {runs, rope});
    for (std::int64_t n = 0; n < runs; ++n) {
        state = std::copy_n(cache.row(n), latent, state);
        keys = std::copy_n(cache.row(n) + latent, rope, keys);
    }
}

}  // namespace

std::span<const Mechanism> latent_rows() {
    static const Mechanism rows[] = {
        {.name = "mla",
         .family = "latent",
         .summary = "one latent for keys and values of all heads, expanded or absorbed",
         .source = "DeepSeek-AI 2024 (DeepSeek-V2)",
         .cost = "expanded Hq Tq Tk (Dn + Dr + Dv), absorbed Hq Tq Tk (2 R + Dr); R + Dr numbers per token",
         .inputs =
             "(q_nope [Hq, Tq, Dn], q_pe [Hq, Tq, Dr], c_kv [Tk, R], k_pe [Tk, Dr]), w_uk [Hq, Dn, R], "
             "w_uv [Hq, Dv, R], (x [T, E], w_dkv [M, E], kv_norm [R], w_q [Hq, Dq, E], w_dq [Rq, E], q_norm [Rq], "
             "w_uq [Hq, Dq, Rq])",
         .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]; of x also c_kv [T, R], k_pe [T, Dr]",
         .parameters = parameters_of<MlaLayerOptions>,
         .call = call_mla},
        {.name = "grouped_latent",
         .family = "latent",
         .summary = "a latent for each group of heads",
         .source = "Zadouri, Strauss, Dao 2025 (GLA)",
         .cost = "as mla; G R + Dr numbers per token",
         .inputs = "q_nope [Hq, Tq, Dn], q_pe [Hq, Tq, Dr], c_kv [G, Tk, R], k_pe [Tk, Dr], w_uk [Hq, Dn, R], "
                   "w_uv [Hq, Dv, R]",
         .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]",
         .parameters = parameters_of<MlaOptions>,
         .call = call_grouped_latent},
        {.name = "grouped_tied",
         .family = "latent",
         .summary = "one state is key and value, with rotary channels of all heads behind",
         .source = "Zadouri, Strauss, Dao 2025 (GTA)",
         .cost = "Hq Tq Tk 2 D; Hkv D + Dr numbers per token",
         .inputs = "q [Hq, Tq, D], kv [Hkv, Tk, D], k_pe [Tk, Dr]",
         .outputs = "o [Hq, Tq, D], lse [Hq, Tq]",
         .parameters = parameters_of<GroupedTiedOptions>,
         .call = call_grouped_tied},
        {.name = "mtla",
         .family = "latent",
         .summary = "latents of a run of tokens summed behind gates: a cache that is shorter in time",
         .source = "Deng, Woodland 2025",
         .cost = "Hq Tq (Tk / stride) (2 R + Dr); (R + Dr) / stride numbers per token",
         .inputs = "q_nope [Hq, Tq, Dn], q_pe [Hq, Tq, Dr], c_kv [N, R], k_pe [N, Dr], w_uk [Hq, Dn, R], "
                   "w_uv [Hq, Dv, R], w_c [Rh, R], b_c [Rh], w_p [Rh, R], b_p [Rh]",
         .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], state [M, R], state_k_pe [M, Dr]",
         .parameters = parameters_of<MtlaOptions>,
         .call = call_mtla},
    };
    return rows;
}

ATTENTA_END
