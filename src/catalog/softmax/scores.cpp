#include <attenta/softmax/scores/cosine.hpp>
#include <attenta/softmax/scores/scan.hpp>
#include <attenta/softmax/scores/sink_bias.hpp>
#include <attenta/softmax/scores/skim.hpp>

#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_scan(Arguments& args, Context& context) {
    const auto x = args.inputs<ScanInputs>();
    const auto options = args.options<ScanOptions>();
    const std::int64_t heads = x.q.rows, tokens = x.kv.length(0), dim = x.kv.v.dim;
    ScanOutputs out;
    out.o = args.output("o", heads, tokens, dim);
    out.lse = args.output<float>("lse", {heads, tokens});
    out.m = {args.output<float>("state_m", {heads}), static_cast<std::size_t>(heads)};
    out.u = {args.output<float>("state_u", {heads}), static_cast<std::size_t>(heads)};
    out.w = {args.output<float>("state_w", {heads, dim}), 1, heads, dim};
    scan_attention(x, out, options, context);
}

/// Attention by the layout, or, with top_k, of the text over the keys that the layout chooses.
void call_skim(Arguments& args, Context& context) {
    const auto layout = args.inputs<SkimLayout>();
    auto options = args.options<SkimOptions>();
    options.mask = args.optional_matrices<bool>("mask");
    const std::int64_t heads = layout.w_q.heads, tokens = layout.bbox.rows;
    if (options.top_k == 0) {
        const auto v = batch_of(args, "v");
        float* const o = args.output<float>("o", {v.batch, heads, tokens, v.dim});
        return skim(layout, v, {bhnd(o, v.batch, heads, tokens, v.dim), args.output<float>("lse", {heads, tokens})},
                    options, context);
    }
    const auto q = args.heads("q");
    const KvView kv = args.kv("k", "v");
    SkimMaskOutputs out;
    out.o = args.output("o", q.heads, q.tokens, kv.v.dim);
    out.lse = args.output<float>("lse", {q.heads, q.tokens});
    out.keep = args.output<bool>("keep", {heads, tokens, tokens});
    skim_mask(layout, q, kv, out, options, context);
}

}  // namespace

std::vector<Mechanism> score_rows() {
    return {
        softmax_row<&cosine>({.name = "cosine",
                              .summary = "normalised queries and keys: nGPT, l2, rms, layer",
                              .source = "Henry et al. 2020; Loshchilov et al. 2024, eq. 15-16; Dehghani et al. 2023",
                              .cost = "as softmax, and Hkv Tk D for the norms of keys, unless they are kept"}),
        softmax_row<&sink_bias>({.name = "sink_bias",
                                 .summary = "one learned key and value for each head that every query sees",
                                 .source = "Sun et al. 2024, Massive Activations",
                                 .cost = "as softmax, one more key"}),
        giving(softmax_row<&scan_attention>({.name = "scan",
                                             .summary = "one query over every prefix of the keys, with a state",
                                             .source = "Feng et al. 2024, Attention as an RNN, sections 3.1-3.3",
                                             .cost = "time Hq T (D + Dv), memory Hq T"},
                                            call_scan),
               "o [Hq, T, Dv], lse [Hq, T], state_m [Hq], state_u [Hq], state_w [Hq, Dv]"),
        {.name = "skim",
         .family = "softmax",
         .summary = "attention by the boxes of a page, for all layers, or as a mask of the text's",
         .source = "Nguyen et al. 2021, Skim-Attention",
         .cost = "time H T T D once, and H T T Dv a layer",
         .inputs = text_of(InputList(SkimLayout{}),
                           "q [H, T, Dq], k [Hkv, T, Dq], v [L, Hkv, T, Dv] or [Hkv, T, Dv], "
                           "mask [1 or H, 1 or T, at most T] BOOL"),
         .outputs = "o [L, H, T, Dv] or [H, T, Dv], lse [H, T], (keep [H, T, T])",
         .parameters = parameters_of<SkimOptions>,
         .call = call_skim},
    };
}

}  // namespace rows

ATTENTA_END
