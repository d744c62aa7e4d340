// Kernels of the variants' normalisers, scores, projections and memories.
#include <attenta/variants/common_kernels.inl>
#include <attenta/variants/local_weights_kernels.inl>
#include <attenta/variants/memory/hopfield_kernels.inl>
#include <attenta/variants/memory/intra_temporal_kernels.inl>
#include <attenta/variants/normalisers/entmax_kernels.inl>
#include <attenta/variants/normalisers/normalized_kernels.inl>
#include <attenta/variants/projections/head_embedding_kernels.inl>
#include <attenta/variants/row_kernels.inl>
#include <attenta/variants/scores/combined_kernels.inl>
#include <attenta/variants/scores/mega_kernels.inl>
