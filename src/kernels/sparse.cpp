// Kernels of sparse mechanisms.
#include <attenta/sparse/content/landmark_kernels.inl>
