#include <attenta/latent.hpp>

#include "arguments.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace {

/// A matrix as the only head.
Heads<const float> as_heads(const Array<float>& a) {
    return hnd(a.data, 1, a.shape[0], a.shape[1]);
}

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

void call_mla(Arguments& args, Context& context) {
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

constexpr std::string_view projected =
    "q_nope [Hq, Tq, Dn], q_pe [Hq, Tq, Dr], c_kv [Tk, R], k_pe [Tk, Dr], w_uk [Hq, Dn, R], w_uv [Hq, Dv, R]";

}  // namespace

std::span<const Mechanism> latent_rows() {
    static const Mechanism rows[] = {
        {.name = "mla",
         .family = "latent",
         .summary = "one latent for keys and values of all heads, expanded or absorbed",
         .source = "DeepSeek-AI 2024 (DeepSeek-V2)",
         .cost = "expanded Hq Tq Tk (Dn + Dr + Dv), absorbed Hq Tq Tk (2 R + Dr); R + Dr numbers per token",
         .inputs = std::string(projected),
         .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]",
         .parameters = parameters_of<MlaOptions>,
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
