#include "analysis_row.hpp"

ATTENTA_BEGIN

std::span<const Mechanism> analysis_rows() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list;
        for (const auto& part :
             {rows::head_readout_rows(), rows::weights_readout_rows(), rows::calibration_rows(),
              rows::decomposition_rows(), rows::parameter_and_feature_rows(), rows::document_readout_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
