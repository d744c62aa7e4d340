// Kernels of read-outs and calibrations.
#include <attenta/analysis/kernels.inl>
#include <attenta/analysis/projection_kernels.inl>
