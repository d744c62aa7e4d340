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
        analysis_row<&head_parameters>({.name = "head_parameters",
                                        .summary = "the tokens that a head's weights map tokens to",
                                        .source = "Elhelo and Geva 2025, MAPS",
                                        .cost = "Hq·N·d·(Dv + V)"}),
        analysis_row<&joint_embedding>({.name = "joint_embedding",
                                        .summary = "queries and keys in one space, near where they attend",
                                        .source = "Yeh et al. 2023, AttentionViz",
                                        .cost = "Hq·Tq·Tk·D"}),
        analysis_row<&clip_decomposition>({.name = "clip_decomposition",
                                           .summary = "what layers, heads and patches write into an image's vector",
                                           .source = "Gandelsman et al. 2024, eq. 4-8",
                                           .cost = "L·H·Dv·e·(d + N)"}),
        analysis_row<&selectable_keys>({.name = "selectable_keys",
                                        .summary = "keys that no query can prefer to all others",
                                        .source = "Brody et al. 2023, section 4",
                                        .cost = "Hkv·Tk·steps·(Tk·D + D³)"}),
    };
}

}  // namespace rows

ATTENTA_END
