// Calibrations of attention weights and of head outputs.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> calibration_rows() {
    using namespace analysis;
    return {
        analysis_row<&calibrate_sinks>({.name = "calibrate_sinks",
                                        .summary = "attention that takes weight from sinks",
                                        .source = "Yu et al. 2024, ACT",
                                        .cost = "four passes over the keys"}),
        analysis_row<&calibrate_position>({.name = "calibrate_position",
                                           .summary = "attention on documents whatever their places",
                                           .source = "Hsieh et al. 2024, eq. 4-6",
                                           .cost = "three passes over the keys"}),
        analysis_row<&token_rescale>({.name = "token_rescale",
                                      .summary = "weights on chosen keys times a factor per head",
                                      .source = "Park et al. 2025, sections 4-5",
                                      .cost = "three passes over the keys"}),
        analysis_row<&head_intervention>({.name = "head_intervention",
                                          .summary = "outputs of heads masked, moved or replaced",
                                          .source = "Michel et al. 2019; Yin et al. 2024; Jiang et al. 2025",
                                          .cost = "as softmax"}),
        analysis_row<&massive_activations>({.name = "massive_activations",
                                            .summary = "massive activations, and what attention to them gives",
                                            .source = "Sun et al. 2024, Massive Activations",
                                            .cost = "Tk·d, four passes over the keys"}),
    };
}

}  // namespace rows

ATTENTA_END
