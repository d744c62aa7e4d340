// Bytes of memory that the machine has.
#pragma once

#include <cstdint>

namespace cli {

/// As many as fit the type where the system does not say.
std::int64_t machine_memory();

}  // namespace cli
