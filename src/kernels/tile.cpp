#include <attenta/engine/common/merge.inl>
#include <attenta/engine/common/own_keys_kernels.inl>
#include <attenta/engine/tile/kernels.inl>
