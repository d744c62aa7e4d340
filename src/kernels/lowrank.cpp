// Kernels of mechanisms of low rank.
#include <attenta/lowrank/kernels.inl>
