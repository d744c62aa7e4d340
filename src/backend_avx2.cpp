#include "backend.hpp"

ATTENTA_EXPORT_BACKEND(avx2);
