#include "backend.hpp"

ATTENTA_EXPORT_BACKEND(neon64);
