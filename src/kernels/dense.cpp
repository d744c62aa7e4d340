#include <attenta/engine/dense/kernels.inl>
