// Headers mode: what a mechanism on the scan needs. Included at the end of mechanism headers alone: an engine header that
// did so would be half read when another one needs it.
#pragma once

#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/isa.inl>
#include <attenta/engine/scan/kernels.inl>
#include <attenta/engine/scan/plan.inl>
