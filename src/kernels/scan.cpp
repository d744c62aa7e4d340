#include <attenta/engine/scan/kernels.inl>
