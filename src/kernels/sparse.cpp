// Kernels of sparse mechanisms.
#include <attenta/sparse/content/landmark_kernels.inl>
#include <attenta/sparse/documents/maxsim_kernels.inl>
#include <attenta/sparse/pages/minference_kernels.inl>
#include <attenta/sparse/retrieval/kernels.inl>
#include <attenta/sparse/row_softmax_kernels.inl>
