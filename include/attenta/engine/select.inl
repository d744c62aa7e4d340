// Headers mode: what a selection needs. Included at the end of mechanism headers alone, as engine/attention.inl.
#pragma once

#include <attenta/engine/isa.inl>
#include <attenta/engine/lists/key_lists.inl>
#include <attenta/engine/select/kernels.inl>
#include <attenta/engine/select/plan.inl>
