// Headers mode: what products need. Included at the end of headers alone, as engine/attention.inl.
#pragma once

#include <attenta/engine/dense/kernels.inl>
#include <attenta/engine/dense/plan.inl>
#include <attenta/engine/isa.inl>
