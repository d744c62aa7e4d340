// Kernels of the mechanisms around exact softmax, rotations among them.
#include <attenta/engine/rotary/kernels.inl>
#include <attenta/softmax/positions/attention_buckets_kernels.inl>
#include <attenta/softmax/positions/complex_kernels.inl>
#include <attenta/softmax/relative/relative_interaction_kernels.inl>
#include <attenta/softmax/row_norms_kernels.inl>
#include <attenta/softmax/row_products_kernels.inl>
#include <attenta/softmax/scores/cosine_kernels.inl>
#include <attenta/softmax/scores/scan_kernels.inl>
#include <attenta/softmax/scores/skim_kernels.inl>
