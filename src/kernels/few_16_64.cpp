#include <attenta/engine/few/kernels_16_64.inl>
