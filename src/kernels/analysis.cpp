// Kernels of read-outs and calibrations.
#include <attenta/analysis/kernels.inl>
