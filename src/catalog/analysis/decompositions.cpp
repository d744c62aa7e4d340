// Decompositions of attention, of its weights and of what it writes.
#include <attenta/analysis.hpp>

#include "../analysis_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> decomposition_rows() { return {}; }

}  // namespace rows

ATTENTA_END
