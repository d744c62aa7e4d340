#include <attenta/variants/structured/conditioned.hpp>
#include <attenta/variants/structured/head_offset.hpp>
#include <attenta/variants/structured/label.hpp>
#include <attenta/variants/structured/spectral_dictionary.hpp>
#include <attenta/variants/structured/triadic.hpp>
#include <attenta/variants/structured/triadic_select.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../arguments.hpp"
#include "../declared.hpp"
#include "../rows.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_label(Arguments& args, Context& context) {
    const auto x = args.inputs<LabelInputs>();
    const auto options = args.options<LabelOptions>();
    LabelOutputs out{args.output("o", x.q.rows, 1, x.w_v.dim)};
    out.lse = args.output<float>("lse", {x.q.rows, 1});
    if (x.w_p) {
        const std::int64_t width = x.q.rows * x.w_p.cols;
        out.y = {args.output<float>("y", {x.x.rows, width}), 1, x.x.rows, width};
    }
    label(x, out, options, context);
}

void call_conditioned(Arguments& args, Context& context) {
    const auto x = args.inputs<ConditionedInputs>();
    const auto options = args.options<ConditionedOptions>();
    ConditionedOutputs out{args.output("o", 1, 1, x.x.cols)};
    out.weights = args.output<float>("weights", {x.x.rows});
    out.lse = args.output<float>("lse", {1, 1});
    conditioned(x, out, options, context);
}

void call_triadic(Arguments& args, Context& context) {
    const auto x = args.inputs<TriadicInputs>();
    const auto options = args.options<TriadicOptions>();
    TriadicOutputs out{args.output("o", x.q.heads, x.q.tokens, x.q.dim)};
    out.lse = args.output<float>("lse", {x.q.heads, x.q.tokens});
    out.q = args.output<float>("q", {x.q.heads, x.q.tokens, x.q.dim});
    out.k = args.output<float>("k", {x.k.heads, x.k.tokens, x.k.dim});
    out.v = args.output<float>("v", {x.v.heads, x.v.tokens, x.v.dim});
    triadic(x, out, options, context);
}

void call_triadic_select(Arguments& args, Context& context) {
    const auto x = args.inputs<TriadicSelectInputs>();
    const auto options = args.options<TriadicSelectOptions>();
    if (options.top_k < 1 || options.top_k > x.q.tokens)  // its output would have no size
        args.refuse("top_k is " + std::to_string(options.top_k) + ", needs 1 to the " + std::to_string(x.q.tokens) +
                    " tokens");
    TriadicSelectOutputs out{args.output("o", x.q.heads, x.q.tokens + 1, x.q.dim)};
    out.index = args.output<std::int64_t>("index", {x.q.heads, options.top_k, x.q.dim});
    triadic_select(x, out, options, context);
}

void call_head_offset(Arguments& args, Context& context) {
    const auto x = args.inputs<HeadOffsetInputs>();
    const auto options = args.options<HeadOffsetOptions>();
    const auto before = args.heads("o");
    const Heads<float> o = args.output("o", before.heads, before.tokens, before.dim);
    std::copy_n(before.data, before.heads * before.tokens * before.dim, o.data);
    head_offset(x, o, options, context);
}

void call_spectral_dictionary(Arguments& args, Context& context) {
    const auto x = args.inputs<SpectralDictionaryInputs>();
    const auto options = args.options<SpectralDictionaryOptions>();
    const std::int64_t tokens = x.coefficients.rows, dim = x.amplitude.cols;
    spectral_dictionary(x, {args.output<float>("o", {tokens, dim}), 1, tokens, dim}, options, context);
}

/// What is written about a mechanism, in words.
struct About {
    std::string_view name, summary, source, cost, outputs;
    std::string_view more_inputs = "";
};

template <class Inputs, class Options>
Mechanism structured_row(const About& about, void (*call)(Arguments&, Context&)) {
    const std::string inputs = text_of(InputList(Inputs{}));
    return {.name = about.name,
            .family = "variants",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = std::string(about.more_inputs) + inputs,
            .outputs = std::string(about.outputs),
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

std::vector<Mechanism> structured_rows() {
    return {
        structured_row<LabelInputs, LabelOptions>(
            {.name = "label",
             .summary = "a learned query for each label, whose context is added to every word",
             .source = "Mrini et al. 2020",
             .cost = "time L T Dm and T (Dm + L) P",
             .outputs = "o [L, 1, Dv], lse [L, 1], y [T, LP]"},
            call_label),
        structured_row<ConditionedInputs, ConditionedOptions>(
            {.name = "conditioned",
             .summary = "pooling whose scores read words together with features: gate, affine or concat",
             .source = "Margatina, Baziotis, Potamianos 2019",
             .cost = "time T Dx F",
             .outputs = "o [1, 1, Dx], weights [T], lse [1, 1]"},
            call_conditioned),
        structured_row<TriadicInputs, TriadicOptions>(
            {.name = "triadic",
             .summary = "queries, keys and values that modulate one another before latents attend (Co4)",
             .source = "Adeel 2025",
             .cost = "time N H (TL + T) D for N loops, and H TL T D",
             .outputs = "o [H, TL, D], lse [H, TL], q [H, TL, D], k [H, T, D], v [H, T, D]"},
            call_triadic),
        structured_row<TriadicSelectInputs, TriadicSelectOptions>(
            {.name = "triadic_select",
             .summary = "a latent modulates tokens, the largest entries of each channel attend and go back",
             .source = "Adeel, Bilal 2026",
             .cost = "time H T D and H K K D for K entries",
             .outputs = "o [H, T1, D], index [H, K, D] I64"},
            call_triadic_select),
        structured_row<HeadOffsetInputs, HeadOffsetOptions>(
            {.name = "head_offset",
             .summary = "vectors added to or put in place of outputs of chosen heads and rows",
             .source = "Yin, Ye, Durrett 2024; Todd et al. 2023",
             .cost = "time N L Dv",
             .outputs = "o [H, L, Dv]",
             .more_inputs = "o [H, L, Dv], "},
            call_head_offset),
        structured_row<SpectralDictionaryInputs, SpectralDictionaryOptions>(
            {.name = "spectral_dictionary",
             .summary = "tokens as mixtures of sinusoids over time, of each channel",
             .source = "Kiruluta 2025",
             .cost = "time T K D",
             .outputs = "o [T, D]"},
            call_spectral_dictionary),
    };
}

}  // namespace rows

ATTENTA_END
