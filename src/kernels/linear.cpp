#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/linear/decay/mamba2_kernels.inl>
