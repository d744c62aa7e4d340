// What a mechanism on the elementwise loop needs of the engine.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/elementwise/request.hpp>
#include <attenta/linear/common.hpp>

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/elementwise.inl>
#endif
