#include <attenta/engine/common/merge.inl>
#include <attenta/engine/tile/kernels.inl>
