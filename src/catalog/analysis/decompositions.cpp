// Decompositions of attention, of its weights and of what it writes.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> decomposition_rows() {
    using namespace analysis;
    return {
        analysis_row<&attention_lens>({.name = "attention_lens",
                                       .summary = "the vocabulary in outputs of heads, through a map of each",
                                       .source = "Sakarvadia et al. 2023, Attention Lens",
                                       .cost = "H·T·d·V"}),
        analysis_row<&value_projection>({.name = "value_projection",
                                         .summary = "the vocabulary in what keys write through heads",
                                         .source = "Katz and Belinkov 2023",
                                         .cost = "Hq·Tk·(Dv·d + d·V)"}),
        analysis_row<&textspan>({.name = "textspan",
                                 .summary = "texts that span what a head writes",
                                 .source = "Gandelsman et al. 2024, algorithm 1",
                                 .cost = "N·e² + picks·N·M·e"}),
        analysis_row<&cka>({.name = "cka",
                            .summary = "how alike two sets of vectors are, by centred kernels",
                            .source = "Saritas and Yildiz 2025",
                            .cost = "H·T²·(Dx + Dy)"}),
    };
}

}  // namespace rows

ATTENTA_END
