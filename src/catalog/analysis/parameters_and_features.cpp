// Read-outs of what heads are made of, their weights and keys, and of features that their attention agrees with.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> parameter_and_feature_rows() {
    using namespace analysis;
    return {
        analysis_row<&feature_alignment>({.name = "feature_alignment",
                                          .summary = "how well attention agrees with a property of pairs",
                                          .source = "Vig et al. 2021, BERTology Meets Biology",
                                          .cost = "L·H·Tq·Tk·F"}),
        analysis_row<&circuit_svd>({.name = "circuit_svd",
                                    .summary = "how few singular directions of a head explain a score",
                                    .source = "Franco and Crovella 2024",
                                    .cost = "H·(d·D² + T·d·D + P·D·log D)"}),
    };
}

}  // namespace rows

ATTENTA_END
