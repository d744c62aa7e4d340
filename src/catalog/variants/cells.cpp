#include <attenta/variants/structured/block_recurrent.hpp>
#include <attenta/variants/structured/duplex.hpp>
#include <attenta/variants/structured/resonator.hpp>
#include <attenta/variants/structured/sdm.hpp>
#include <attenta/variants/structured/token_pooling_attention.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "../arguments.hpp"
#include "../declared.hpp"
#include "../maps.hpp"
#include "../rows.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_token_pooling_attention(Arguments& args, Context& context) {
    const auto x = map_inputs<TokenPoolingAttentionInputs>(args);
    const auto options = args.options<TokenPoolingAttentionOptions>();
    token_pooling_attention(x,
                            {args.output("o", x.x.heads, x.x.tokens, x.x.dim),
                             args.output<float>("weights", {x.w_1.heads, x.x.tokens, x.x.dim})},
                            options, context);
}

void call_duplex(Arguments& args, Context& context) {
    const auto x = args.inputs<DuplexInputs>();
    const auto options = args.options<DuplexOptions>();
    duplex(x,
           {args.output("o", x.q.heads, x.q.tokens, x.v.dim), args.output<float>("lse", {x.q.heads, x.q.tokens}),
            args.output("k", x.q.heads, x.k.tokens, x.k.dim)},
           options, context);
}

void call_sdm(Arguments& args, Context& context) {
    const auto x = args.inputs<SdmInputs>();
    const auto options = args.options<SdmOptions>();
    SdmOutputs out{args.output("o", x.q.heads, x.q.tokens, x.v.dim)};
    if (options.mode == SdmMode::binary || options.mode == SdmMode::cosine_binned)
        out.table = args.output<float>("table", {x.q.dim + 1});
    if (options.mode == SdmMode::softmax) out.beta = args.output<float>("beta", {1});
    sdm(x, out, options, context);
}

void call_resonator(Arguments& args, Context& context) {
    const auto x = args.inputs<ResonatorInputs>();
    const auto options = args.options<ResonatorOptions>();
    const std::int64_t factors = x.codebook.heads, words = x.codebook.tokens, dim = x.codebook.dim;
    const auto state = [&](const char* name) {
        return Matrices<float>{args.output<float>(name, {factors, dim}), 1, factors, dim};
    };
    ResonatorOutputs out{state("state")};
    if (x.s_im.data()) out.state_im = state("state_im");
    out.weights = args.output<float>("weights", {factors, words});
    out.index = args.output<std::int64_t>("index", {factors});
    resonator(x, out, options, context);
}

/// f(part) for each list of inputs.
template <class F>
void each_list(BlockRecurrentInputs& x, F&& f) {
    BlockRecurrentInputs::lists(f, x);
}

std::vector<Input> block_recurrent_inputs() {
    std::vector<Input> all;
    BlockRecurrentInputs x;
    each_list(x, [&](const auto& part) {
        const std::vector<Input> list = InputList(part).copy();
        all.insert(all.end(), list.begin(), list.end());
    });
    return all;
}

void call_block_recurrent(Arguments& args, Context& context) {
    BlockRecurrentInputs x;
    each_list(x, [&](auto& part) { part = args.inputs<std::remove_cvref_t<decltype(part)>>(); });
    const auto options = args.options<BlockRecurrentOptions>();
    const auto& q = x.tokens.q;
    const auto& state = x.states.state;
    block_recurrent(x,
                    {args.output("o", 2 * q.heads, q.tokens, q.dim),
                     {args.output<float>("state", {state.rows, state.cols}), 1, state.rows, state.cols}},
                    options, context);
}

/// What is written about a mechanism, in words.
struct StructuredAbout {
    std::string_view name, summary, source, cost;
    std::string inputs, outputs;
};

template <class Options>
Mechanism structured_row(const StructuredAbout& about, void (*call)(Arguments&, Context&),
                         std::vector<Input> (*list)()) {
    return {.name = about.name,
            .family = "variants",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = about.inputs,
            .outputs = about.outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = list};
}

template <class Inputs>
std::vector<Input> list_of() {
    return InputList(Inputs{}).copy();
}

}  // namespace

std::vector<Mechanism> variant_structured_rows() {
    return {
        structured_row<BlockRecurrentOptions>(
            {.name = "block_recurrent",
             .summary = "sliding-window attention with state vectors that blocks of tokens update",
             .source = "Hutchins et al. 2022",
             .cost = "T·(2w + S)·D per head; S·E state",
             .inputs = text_of(block_recurrent_inputs()),
             .outputs = "o [2H, T, D], state [S, E]"},
            call_block_recurrent, block_recurrent_inputs),
        structured_row<DuplexOptions>({.name = "duplex",
                                       .summary = "keys of one modality aligned with a Gram matrix of another",
                                       .source = "Zhang et al. 2025, MODA",
                                       .cost = "T²·D + T·D² per head",
                                       .inputs = text_of(InputList(DuplexInputs{})),
                                       .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], k [Hq, Tk, D]"},
                                      call_duplex, list_of<DuplexInputs>),
        structured_row<ResonatorOptions>(
            {.name = "resonator",
             .summary = "a bound vector factorised into codewords, by attention to codebooks",
             .source = "Yeung et al. 2024; Frady et al. 2020",
             .cost = "steps·F·M·D",
             .inputs = text_of(InputList(ResonatorInputs{})),
             .outputs = "state [F, D], weights [F, M], index [F], state_im [F, D] of complex vectors"},
            call_resonator, list_of<ResonatorInputs>),
        structured_row<SdmOptions>(
            {.name = "sdm",
             .summary = "a sparse distributed memory: weights from what balls around query and key share",
             .source = "Bricken, Pehlevan 2021",
             .cost = "T²·D and a table of D + 1",
             .inputs = text_of(InputList(SdmInputs{})),
             .outputs = "o [Hq, Tq, Dv], table [N] of binary and cosine_binned, beta [1] of softmax"},
            call_sdm, list_of<SdmInputs>),
        structured_row<TokenPoolingAttentionOptions>(
            {.name = "token_pooling_attention",
             .summary = "tokens become learned mixtures of local means of several dilations",
             .source = "Guo et al. 2023",
             .cost = "N·H·W·(15·C + 9·N)",
             .inputs = map_inputs_text<TokenPoolingAttentionInputs>(),
             .outputs = "o [C, H, W], weights [N, H, W]"},
            call_token_pooling_attention, list_of<TokenPoolingAttentionInputs>),
    };
}

}  // namespace rows

ATTENTA_END
