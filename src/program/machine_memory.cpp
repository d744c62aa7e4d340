#include "machine_memory.hpp"

#include <unistd.h>

#include <limits>

namespace cli {

std::int64_t machine_memory() {
    const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? std::int64_t{pages} * page : std::numeric_limits<std::int64_t>::max();
}

}  // namespace cli
