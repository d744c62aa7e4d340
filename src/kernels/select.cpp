#include <attenta/engine/select/kernels.inl>
