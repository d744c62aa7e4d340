#include <attenta/engine/score/edit_kernels.inl>
