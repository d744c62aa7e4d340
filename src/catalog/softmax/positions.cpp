#include <attenta/softmax/positions/attention_buckets.hpp>
#include <attenta/softmax/positions/complex.hpp>
#include <attenta/softmax/positions/modulated_positional.hpp>
#include <attenta/softmax/positions/rope.hpp>
#include <attenta/softmax/positions/rope_nope.hpp>
#include <attenta/softmax/positions/t5_bias.hpp>
#include <attenta/softmax/positions/tree_mask.hpp>

#include <algorithm>
#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

void take_visible(Arguments& args, VisibleKeys& visibility) {
    visibility.segment_q = args.optional_vector<std::int64_t>("segment_q");
    visibility.segment_k = args.optional_vector<std::int64_t>("segment_k");
    visibility.mask = args.optional_matrices<bool>("mask");
}

namespace {

void call_rope(Arguments& args, Context& context) {
    const auto x = args.inputs<RopeInputs>();
    const auto options = args.options<RopeOptions>();
    const std::int64_t rotated = std::clamp<std::int64_t>(options.rotary_dim.value_or(x.q.dim), 0, x.q.dim);
    const Heads<float> q = args.output("q", x.q.heads, x.q.tokens, x.q.dim),
                       k = args.output("k", x.k.heads, x.k.tokens, x.k.dim);
    rope(x, {q, k, args.output<float>("frequencies", {rotated / 2})}, options, context);
}

void call_t5_bias(Arguments& args, Context& context) {
    call_softmax<&t5_bias>(args, context, [](Arguments& to, const T5BiasInputs& x, T5BiasOutputs& out) {
        out.index = to.output<std::int64_t>("index", {x.q.tokens, x.kv.length(0)});
    });
}

void call_tree_mask(Arguments& args, Context& context) {
    call_softmax<&tree_mask>(args, context, [](Arguments& to, const TreeMaskInputs& x, TreeMaskOutputs& out) {
        out.position = to.output<std::int64_t>("position", {x.q.tokens});
        out.tree = to.output<bool>("tree", {x.q.tokens, x.q.tokens});
    });
}

void call_attention_buckets(Arguments& args, Context& context) {
    const auto q = batch_of(args, "q"), k = batch_of(args, "k"), v = batch_of(args, "v");
    const auto logits = args.array<float>("logits", {any_size, any_size});
    const auto options = args.options<AttentionBucketsOptions>();
    const auto runs = static_cast<std::int64_t>(options.bases.size());
    float* const o = args.output<float>("o", {runs, q.heads, q.tokens, v.dim});
    attention_buckets({q, k, v},
                      {bhnd(o, runs, q.heads, q.tokens, v.dim), args.output<float>("lse", {runs, q.heads, q.tokens})},
                      options, context);
    if (logits.shape[0] != runs)
        args.refuse("input 'logits' is of " + std::to_string(logits.shape[0]) + " runs, there are " +
                    std::to_string(runs) + " bases");
    const auto words = static_cast<std::size_t>(logits.shape[1]);
    mix_bucket_logits({logits.data, 1, runs, logits.shape[1]},
                      {args.output<float>("weight", {runs}), options.bases.size()},
                      {args.output<float>("mixed", {logits.shape[1]}), words}, context);
}

void call_modulated_positional(Arguments& args, Context& context) {
    const auto x = args.inputs<ModulatedPositionalInputs>();
    auto options = args.options<ModulatedPositionalOptions>();
    options.mask = args.optional_matrices<bool>("mask");
    ModulatedPositionalOutputs out;
    out.o = args.output("o", x.q.heads, x.q.tokens, x.v.dim);
    out.lse = args.output<float>("lse", {x.q.heads, x.q.tokens});
    out.q_pos = args.output<float>("q_pos", {x.q.heads, x.q.tokens, x.k_pos.dim});
    modulated_positional(x, out, options, context);
}

}  // namespace

std::vector<Mechanism> position_rows() {
    return {
        giving(
            softmax_row<&rope>({.name = "rope",
                                .summary = "rotary positions: halves or neighbours, partial, with all usual scalings",
                                .source = "Su et al. 2021; Chen et al. 2023; Peng et al. 2023; Ding et al. 2024",
                                .cost = "time (Hq Tq + Hkv Tk) D"},
                               call_rope),
            "q [Hq, Tq, D], k [Hkv, Tk, D], frequencies [R/2]"),
        softmax_row<&t5_bias>({.name = "t5_bias",
                               .summary = "a learned bias for each head and logarithmic bucket of distances",
                               .source = "Raffel et al. 2020, section 2.1",
                               .cost = "as softmax, memory Hq max_distance",
                               .more_outputs = ", (index [Tq, Tk])"},
                              call_t5_bias),
        softmax_row<&tree_mask>({.name = "tree_mask",
                                 .summary = "nodes of a drafted tree see the context, their ancestors and themselves",
                                 .source = "Miao et al. 2024; Cai et al. 2024; Li et al. 2024",
                                 .cost = "as softmax, memory Tq Tq bits",
                                 .more_outputs = ", position [Tq], (tree [Tq, Tq])"},
                                call_tree_mask),
        softmax_row<&rope_nope>({.name = "rope_nope",
                                 .summary = "rotary layers with a window, full ones without positions, QK-Norm",
                                 .source = "Yang et al. 2025, Rope to Nope and Back Again",
                                 .cost = "time Hq Tq min(Tk, window) (D + Dv)"}),
        {.name = "attention_buckets",
         .family = "softmax",
         .summary = "a run for each of several rotary bases, whose scores are mixed",
         .source = "Chen et al. 2024, Fortify the Shortest Stave in Attention",
         .cost = "B times softmax",
         .inputs = "q [1 or B, Hq, Tq, D], k [1 or B, Hkv, Tk, D], v [1 or B, Hkv, Tk, Dv], logits [B, V]",
         .outputs = "o [B, Hq, Tq, Dv], lse [B, Hq, Tq], weight [B], mixed [V]",
         .parameters = parameters_of<AttentionBucketsOptions>,
         .call = call_attention_buckets},
        softmax_row<&complex>({.name = "complex",
                               .summary = "scaled and shifted phases of complex channels, with rotary positions",
                               .source = "Shao et al. 2025, ComplexFormer",
                               .cost = "as softmax, keys of every query head"}),
        softmax_row<&modulated_positional>(
            {.name = "modulated_positional",
             .summary = "cross-attention with positional queries modulated by the size of anchors",
             .source = "Liu et al. 2022, DAB-DETR",
             .cost = "time Hq Tq Tk (D + Dp + Dv)",
             .more_outputs = ", q_pos [Hq, Tq, Dp]"},
            call_modulated_positional, "mask [1 or Hq, 1 or Tq, at most Tk] BOOL"),
    };
}

}  // namespace rows

ATTENTA_END
