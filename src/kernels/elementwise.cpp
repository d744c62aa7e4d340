#include <attenta/linear/recurrent/causal_conv_kernels.inl>
#include <attenta/linear/recurrent/hgrn_kernels.inl>
#include <attenta/linear/recurrent/mamba_kernels.inl>
#include <attenta/linear/recurrent/wkv_kernels.inl>
