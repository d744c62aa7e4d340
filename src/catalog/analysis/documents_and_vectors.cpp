// Read-outs of documents and sentences, of relations, and of vectors that heads make.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

/// With the loss where there is a student.
void call_relations(Arguments& args, Context& context) {
    const auto x = operands_of<analysis::RelationsInputs>(args);
    const auto options = args.options<analysis::RelationsOptions>();
    const std::string_view without = x.has_student() ? std::string_view() : "loss";
    analysis::relations(x, make_outputs<analysis::RelationsOutputs>(args, x, options, without), options, context);
}

}  // namespace

std::vector<Mechanism> document_readout_rows() {
    using namespace analysis;
    return {
        analysis_row<&document_order>({.name = "document_order",
                                       .summary = "which document goes where, by attention received",
                                       .source = "Peysakhovich and Lerer 2023; Yi et al. 2025, AttnRank",
                                       .cost = "L·H·Tk + K log K"}),
        analysis_row<&head_relevance>({.name = "head_relevance",
                                       .summary = "which heads stand for which visual concept, by votes",
                                       .source = "Park et al. 2025, section 3",
                                       .cost = "N·H·R·W"}),
        analysis_row<&sentinel_features>({.name = "sentinel_features",
                                          .summary = "which sentences matter, by attention of the last token",
                                          .source = "Zhang et al. 2025, Sentinel",
                                          .cost = "L·H·Tk"}),
        analysis_row<&analysis::relations>({.name = "relations",
                                            .summary = "relations among q, k and v, and a student's divergence",
                                            .source = "Wang et al. 2021, MiniLMv2, eq. 4-8",
                                            .cost = "P·T²·H·D"},
                                           call_relations),
        analysis_row<&kernel_pca>({.name = "kernel_pca",
                                   .summary = "whether attention is kernel PCA of the keys",
                                   .source = "Saritas and Yildiz 2025; Teo and Nguyen 2024",
                                   .cost = "H·T³"}),
        analysis_row<&function_vector>({.name = "function_vector",
                                        .summary = "a task as a vector, from the heads that carry it",
                                        .source = "Todd et al. 2024, eq. 4-6; Saglam et al. 2025",
                                        .cost = "N·L·H·Dv + top·Dv·d"}),
    };
}

}  // namespace rows

ATTENTA_END
