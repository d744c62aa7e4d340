// Kernels of read-outs and calibrations.
#include <attenta/analysis/kernels.inl>
#include <attenta/analysis/pair_kernels.inl>
#include <attenta/analysis/projection_kernels.inl>
