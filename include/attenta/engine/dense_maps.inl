// Headers mode: what feature maps and small layers need. Included at the end of headers alone.
#pragma once

#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/engine/dense/convolve.inl>
#include <attenta/engine/dense/convolve_kernels.inl>
#include <attenta/engine/dense/layers.inl>
#include <attenta/engine/dense/layers_kernels.inl>
