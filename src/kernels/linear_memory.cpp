#include <attenta/linear/recurrent/chunk_kernels.inl>
#include <attenta/linear/recurrent/log_linear_kernels.inl>
#include <attenta/linear/recurrent/mesa_kernels.inl>
#include <attenta/linear/recurrent/titans_kernels.inl>
#include <attenta/linear/recurrent/titans_mag_kernels.inl>
