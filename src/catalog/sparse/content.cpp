#include "../sparse_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> content_rows() { return {}; }

}  // namespace rows

ATTENTA_END
