// Read-outs that tell heads apart.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> head_readout_rows() {
    using namespace analysis;
    return {
        analysis_row<&attention_vectors>({.name = "attention_vectors",
                                          .summary = "heads that classify a few examples vote on new ones",
                                          .source = "Granite Team 2025; Mitra et al. 2024",
                                          .cost = "(N + M)·L·H·C·Dv"}),
        analysis_row<&positional_heads>({.name = "positional_heads",
                                         .summary = "which rotary dimensions of a head measure distance",
                                         .source = "Hong et al. 2024",
                                         .cost = "Hq·P·D·log P"}),
        analysis_row<&analysis::retrieval_score>({.name = "retrieval_score",
                                                  .summary = "which heads copy from a needle, by weights",
                                                  .source = "Wu et al. 2024, Retrieval Head",
                                                  .cost = "S·L·H·Tk"}),
        analysis_row<&head_importance>({.name = "head_importance",
                                        .summary = "which heads can go, from outputs and gradients",
                                        .source = "Michel et al. 2019, eq. 2",
                                        .cost = "N·L·H·T·Dv"}),
        analysis_row<&head_distance>({.name = "head_distance",
                                      .summary = "where heads look: distances, offsets, classes of tokens, patches",
                                      .source = "Clark et al. 2019; Javed et al. 2022; Li et al. 2023",
                                      .cost = "L·H·T²"}),
        analysis_row<&head_similarity>({.name = "head_similarity",
                                        .summary = "Jensen-Shannon divergences of all heads",
                                        .source = "Clark et al. 2019, section 6",
                                        .cost = "(L·H)²·Tq·Tk"}),
    };
}

}  // namespace rows

ATTENTA_END
