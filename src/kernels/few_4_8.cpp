#include <attenta/engine/few/kernels_4_8.inl>
