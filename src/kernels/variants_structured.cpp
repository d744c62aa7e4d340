// Kernels of mechanisms with structured inputs.
#include <attenta/variants/structured/kernels.inl>
