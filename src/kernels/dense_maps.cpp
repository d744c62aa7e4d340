// Kernels of layers and convolutions.
#include <attenta/engine/dense/convolve_kernels.inl>
#include <attenta/engine/dense/layers_kernels.inl>
