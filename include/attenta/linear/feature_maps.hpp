// For mechanisms that map queries or keys.
#pragma once

#include <attenta/engine/scan/features.hpp>
#include <attenta/linear/common.hpp>

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan/feature_kernels.inl>
#endif
