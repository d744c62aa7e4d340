#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/linear/mamba2_kernels.inl>
