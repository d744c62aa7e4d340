// Kernels of sparse mechanisms: #include <attenta/sparse/FOLDER/MECHANISM_kernels.inl>
#include <attenta/sparse/retrieval/kernels.inl>
