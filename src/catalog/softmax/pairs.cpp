// Scores that more than one query and key make.
#include <attenta/softmax/scores/multi_token.hpp>
#include <attenta/softmax/scores/path.hpp>
#include <attenta/softmax/scores/relational.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_multi_token(Arguments& args, Context& context) {
    const auto x = args.inputs<MultiTokenInputs>();
    const auto options = args.options<MultiTokenOptions>();
    multi_token(x, args.output("o", x.q.heads, x.q.tokens, x.kv.v.dim), options, context);
}

/// Relational heads, and sensory ones beside where their tensors are given.
void call_relational(Arguments& args, Context& context) {
    const auto x = args.inputs<RelationalInputs>();
    const auto options = options_of<RelationalOptions>(args);
    const bool sensory = args.has("q");
    const auto q = sensory ? args.heads("q") : Heads<const float>{};
    const KvView kv = sensory ? args.kv("k", "v") : KvView{};
    const SoftmaxOutputs out{args.output("o", x.q_attn.heads, x.q_attn.tokens, x.w_rel.tokens),
                             args.output<float>("lse", {x.q_attn.heads, x.q_attn.tokens})};
    relational(x, out, options, context);
    if (!sensory) return;
    const VisibleKeys& v = options.visibility;
    SoftmaxOptions same{.scale = options.scale,
                        .causal = v.causal,
                        .prefix = v.prefix,
                        .window_left = v.window_left,
                        .window_right = v.window_right,
                        .q_offset = v.q_offset};
    same.segment_q = v.segment_q, same.segment_k = v.segment_k, same.mask = v.mask;
    softmax_attention(q, kv, args.output("o_sensory", q.heads, q.tokens, kv.v.dim), same, nullptr, context);
}

void call_path(Arguments& args, Context& context) {
    const auto x = args.inputs<PathInputs>();
    const auto options = args.options<PathOptions>();
    PathCache cache;
    if (args.has("k_cache") || args.has("v_cache") || args.has("g_cache")) {
        if (args.has("g_cache") != (x.g.data != nullptr)) args.refuse("g and g_cache are not both given");
        Heads<const float> gates;
        if (x.g.data) {
            const auto g = args.array<float>("g_cache", {any_size, any_size});
            gates = hnd(g.data, g.shape[0], g.shape[1], 1);
        }
        cache.load(args.heads("k_cache"), args.heads("v_cache"), gates);
    }
    path_attention(
        x, {args.output("o", x.q.heads, x.q.tokens, x.v.dim), args.output<float>("lse", {x.q.heads, x.q.tokens})},
        cache, options, context);
    const Heads<const float> keys = cache.keys();
    float* to = args.output<float>("state_k", {keys.heads, keys.tokens, keys.dim});
    for (std::int64_t h = 0; h < keys.heads; ++h)
        for (std::int64_t t = 0; t < keys.tokens; ++t) to = std::copy_n(keys.row(h, t), keys.dim, to);
}

}  // namespace

std::vector<Mechanism> pair_rows() {
    return {
        {.name = "multi_token",
         .family = "softmax",
         .summary = "convolutions of scores and weights over queries and keys, mixed heads, norm and gate",
         .source = "Golovneva et al. 2025",
         .cost = "time Hq Tq Tk (D + Dv + A B) + Hq^2 Tq Tk, memory Hq Tk for each of a range's queries",
         .inputs = text_of(InputList(MultiTokenInputs{})),
         .outputs = "o [Hq, Tq, Dv]",
         .parameters = parameters_of<MultiTokenOptions>,
         .call = call_multi_token,
         .list = [] { return InputList(MultiTokenInputs{}).copy(); }},
        {.name = "relational",
         .family = "softmax",
         .summary = "weights gather relations between tokens and symbols, beside sensory heads",
         .source = "Altabaa, Lafferty 2024",
         .cost = "time H Tq Tk (2 D + R + Ds) + R Tq Tk Dr",
         .inputs = text_of(InputList(RelationalInputs{}),
                           std::string(visible_inputs) + ", q [Hq, Tq, Dq], k [Hk, Tk, Dq], v [Hk, Tk, Dv]"),
         .outputs = "o [H, Tq, Ds], lse [H, Tq], o_sensory [Hq, Tq, Dv] with q",
         .parameters = parameters_of<RelationalOptions>,
         .call = call_relational,
         .list = [] { return InputList(RelationalInputs{}).copy(); }},
        {.name = "path",
         .family = "softmax",
         .summary = "Householder transitions between a key and a query, with forget gates (PaTH-FoX)",
         .source = "Yang et al. 2025",
         .cost = "as softmax and 3/2 Hkv T T D, keys rewritten at every block or step",
         .inputs = text_of(InputList(PathInputs{}), "k_cache [Hkv, P, D], v_cache [Hkv, P, Dv], g_cache [Hq, P]"),
         .outputs = "o [Hq, T, Dv], lse [Hq, T], state_k [Hkv, P+T, D]",
         .parameters = parameters_of<PathOptions>,
         .call = call_path,
         .list = [] { return InputList(PathInputs{}).copy(); }},
    };
}

}  // namespace rows

ATTENTA_END
