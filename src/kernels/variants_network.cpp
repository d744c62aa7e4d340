// Kernels of attention whose scores come from a small network or from places.
#include <attenta/variants/locations/kernels.inl>
#include <attenta/variants/network/kernels.inl>
