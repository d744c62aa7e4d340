#include "backend.hpp"

ATTENTA_EXPORT_BACKEND(sse2);
