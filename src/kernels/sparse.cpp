// Kernels of sparse mechanisms: #include <attenta/sparse/FOLDER/MECHANISM_kernels.inl>
#include <attenta/sparse/pages/minference_kernels.inl>
#include <attenta/sparse/row_softmax_kernels.inl>
