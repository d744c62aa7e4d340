#include <attenta/gating.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "declared.hpp"
#include "maps.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

Heads<float> map_output(Arguments& args, const Heads<const float>& x) {
    return args.output("o", x.heads, x.tokens, x.dim);
}

struct CbamParameters {
    std::vector<std::string> pool{"avg", "max"};
    CbamOptions options;

    static void fields(auto&& visit, auto& o) {
        visit("pool", o.pool, "of channels: avg, max, lse");
        visit("spatial", o.options.spatial, "gate positions, too");
        visit("eps", o.options.eps, "of the batch norm");
        visit("check_data", o.options.check_data, "refuse NaN");
    }
};

void call_cbam(Arguments& args, Context& context) {
    const auto x = map_inputs<CbamInputs>(args);
    auto [pools, options] = args.options<CbamParameters>();
    options.mean = options.max = options.log_sum_exp = false;
    for (const std::string& pool : pools) {
        bool* const known = pool == "avg"   ? &options.mean
                            : pool == "max" ? &options.max
                            : pool == "lse" ? &options.log_sum_exp
                                            : nullptr;
        if (!known || *known)
            args.refuse("parameter 'pool' has \"" + pool + "\", expected avg, max and lse, each at most once");
        *known = true;
    }
    CbamOutputs out{map_output(args, x.x), args.output<float>("channel_gate", {x.x.heads})};
    if (options.spatial) out.spatial_gate = args.output<float>("spatial_gate", {x.x.tokens, x.x.dim});
    cbam(x, out, options, context);
}

void call_channel_attention(Arguments& args, Context& context) {
    const auto x = args.inputs<ChannelAttentionInputs>();
    const auto options = args.options<ChannelAttentionOptions>();
    channel_attention(x, map_output(args, x.q), options, context);
}

void call_class_semantics(Arguments& args, Context& context) {
    const auto x = args.inputs<ClassSemanticsInputs>();
    const auto options = args.options<ClassSemanticsOptions>();
    ClassSemanticsOutputs out{map_output(args, x.x)};
    if (options.mode != SemanticsMode::time) out.channel_gate = args.output<float>("channel_gate", {x.x.heads});
    if (options.mode != SemanticsMode::channel) out.time_gate = args.output<float>("time_gate", {x.x.dim});
    class_semantics(x, out, options, context);
}

void call_pixel_attention(Arguments& args, Context& context) {
    const auto x = map_inputs<PixelAttentionInputs>(args);
    const auto options = args.options<PixelAttentionOptions>();
    pixel_attention(x, map_output(args, x.x), options, context);
}

void call_relationship_attention(Arguments& args, Context& context) {
    const auto x = args.inputs<RelationshipAttentionInputs>();
    const auto options = args.options<RelationshipAttentionOptions>();
    relationship_attention(x, {args.output<float>("o", {x.x.rows, x.x.cols}), 1, x.x.rows, x.x.cols}, options, context);
}

void call_residual_attention(Arguments& args, Context& context) {
    const auto x = args.inputs<ResidualAttentionInputs>();
    const auto options = args.options<ResidualAttentionOptions>();
    residual_attention(x, map_output(args, x.x), options, context);
}

void call_sentence_attention(Arguments& args, Context& context) {
    const auto x = args.inputs<SentenceAttentionInputs>();
    const auto options = args.options<SentenceAttentionOptions>();
    sentence_attention(x, {map_output(args, x.x), args.output<float>("gate", {x.x.heads})}, options, context);
}

/// What is written about a mechanism, in words.
struct GatingAbout {
    std::string_view name, summary, source, cost;
    std::string outputs = "o [C, H, W]";
};

template <class Inputs, class Options>
Mechanism gating_row(const GatingAbout& about, void (*call)(Arguments&, Context&)) {
    return {.name = about.name,
            .family = "gating",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = map_inputs_text<Inputs>(),
            .outputs = about.outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

}  // namespace rows

std::span<const Mechanism> gating_rows() {
    using namespace rows;
    static const std::vector<Mechanism> all = {
        gating_row<CbamInputs, CbamParameters>(
            {.name = "cbam",
             .summary = "a gate of channels from pooled positions, one of positions from pooled channels",
             .source = "Woo et al. 2018, CBAM",
             .cost = "H·W·(C + 2·n²) + C·R",
             .outputs = "o [C, H, W], channel_gate [C], spatial_gate [H, W]"},
            call_cbam),
        gating_row<ChannelAttentionInputs, ChannelAttentionOptions>(
            {.name = "channel_attention",
             .summary = "softmax attention between the channels of a map",
             .source = "Zamir et al. 2022, Restormer; Wang et al. 2025, FEAT",
             .cost = "H·W·C²/G time, C²/G memory"},
            call_channel_attention),
        gating_row<ClassSemanticsInputs, ClassSemanticsOptions>(
            {.name = "class_semantics",
             .summary = "gates of channels and of time from class-rich features",
             .source = "Sridhar et al. 2021",
             .cost = "C·L + M·(K·L + C)",
             .outputs = "o [C, O, L], channel_gate [C], time_gate [L]"},
            call_class_semantics),
        gating_row<PixelAttentionInputs, PixelAttentionOptions>(
            {.name = "pixel_attention",
             .summary = "a gate for every number of a map, maybe between two convolutions",
             .source = "Zhao et al. 2020",
             .cost = "H·W·C² (+ 2·H·W·C²·n²)"},
            call_pixel_attention),
        gating_row<RelationshipAttentionInputs, RelationshipAttentionOptions>(
            {.name = "relationship_attention",
             .summary = "the images of a batch attend to each other, added to their features",
             .source = "Le et al. 2024",
             .cost = "B²·d + B·d²",
             .outputs = "o [B, D]"},
            call_relationship_attention),
        gating_row<ResidualAttentionInputs, ResidualAttentionOptions>(
            {.name = "residual_attention",
             .summary = "a map times one plus a mask from given logits",
             .source = "Wang et al. 2017",
             .cost = "H·W·C"},
            call_residual_attention),
        gating_row<SentenceAttentionInputs, SentenceAttentionOptions>(
            {.name = "sentence_attention",
             .summary = "one weight per channel from the embedding of a sentence",
             .source = "Khoshsirat, Kambhamettu 2023",
             .cost = "H·W·C + M·(E + C)",
             .outputs = "o [C, H, W], gate [C]"},
            call_sentence_attention),
    };
    return all;
}

ATTENTA_END
