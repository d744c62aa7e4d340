// Headers mode: what a mechanism on the elementwise loop needs, included at the end of mechanism headers alone.
#pragma once

#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/elementwise/plan.inl>
#include <attenta/engine/isa.inl>
