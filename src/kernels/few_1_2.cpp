#include <attenta/engine/few/kernels_1_2.inl>
