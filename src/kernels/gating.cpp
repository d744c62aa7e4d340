// Kernels of gates on feature maps.
#include <attenta/gating/kernels.inl>
