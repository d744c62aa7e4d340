// Read-outs of attention weights, and of the scores that they come from.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

/// With the spectral gap where the attention is square.
void call_concentration(Arguments& args, Context& context) {
    const auto x = operands_of<analysis::ConcentrationInputs>(args);
    const auto options = args.options<analysis::ConcentrationOptions>();
    const auto out = make_outputs<analysis::ConcentrationOutputs>(args, x, options);
    analysis::concentration(x, out, options, context);
    if (x.q.tokens == x.k.tokens && x.k.tokens > 1)
        analysis::spectral_gap(x, make_outputs<analysis::SpectralGapOutputs>(args, x, options), options, context);
}

/// With the measures of graphs where the attention is square.
void call_sink_metrics(Arguments& args, Context& context) {
    const auto x = operands_of<analysis::SinkMetricsInputs>(args);
    const auto options = args.options<analysis::SinkMetricsOptions>();
    const bool square = x.attn.size(2) == x.attn.size(3) && x.attn.size(3) > 1;
    const auto out =
        make_outputs<analysis::SinkMetricsOutputs>(args, x, options, square ? std::string_view() : "centralization");
    analysis::sink_metrics(x, out, options, context);
    if (square) analysis::fiedler_values(x, make_outputs<analysis::FiedlerOutputs>(args, x, options), {}, context);
}

}  // namespace

std::vector<Mechanism> weights_readout_rows() {
    using namespace analysis;
    return {
        analysis_row<&concentration>({.name = "concentration",
                                      .summary = "entropies, log-normal moments, temperature and spectral gap",
                                      .source = "Nahshan et al. 2024, section 3",
                                      .cost = "Hq·Tq·Tk·D; gap Hq·T³"},
                                     call_concentration),
        analysis_row<&sink_metrics>({.name = "sink_metrics",
                                     .summary = "which keys are sinks, and how star-shaped attention is",
                                     .source = "Gu et al. 2025; Ruscio et al. 2025",
                                     .cost = "L·H·Tq·Tk; fiedler L·H·T³"},
                                    call_sink_metrics),
        analysis_row<&rollout>({.name = "rollout",
                                .summary = "what positions are composed of, over all layers below",
                                .source = "Abnar and Zuidema 2020, section 3",
                                .cost = "L·H·T³"}),
        analysis_row<&flow>({.name = "flow",
                             .summary = "how much of a position can come from a token, by maximum flow",
                             .source = "Abnar and Zuidema 2020, section 3",
                             .cost = "T² flows through (L + 1)·T nodes"}),
        analysis_row<&separability>({.name = "separability",
                                     .summary = "whether selected keys stand apart from the others",
                                     .source = "Mudarisov et al. 2025",
                                     .cost = "Hq·Tq·Tk·(D + 2 Dv)"}),
        analysis_row<&diversity>({.name = "diversity",
                                  .summary = "how alike the attention of tokens is",
                                  .source = "Guo et al. 2023, attention diversification loss",
                                  .cost = "L·H·T·Tk"}),
        analysis_row<&context_contribution>({.name = "context_contribution",
                                             .summary = "the tokens that layers look at, and those that they may drop",
                                             .source = "Kachuee and Sharifkhani 2022",
                                             .cost = "L·H·T²"}),
    };
}

}  // namespace rows

ATTENTA_END
