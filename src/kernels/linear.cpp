#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/linear/decay/mamba2_kernels.inl>
#include <attenta/linear/decay/regla_kernels.inl>
#include <attenta/linear/features/injective_kernels.inl>
#include <attenta/linear/features/latte_kernels.inl>
#include <attenta/linear/features/norm_aware_kernels.inl>
#include <attenta/linear/features/row_sums.inl>
#include <attenta/linear/row_norm_kernels.inl>
