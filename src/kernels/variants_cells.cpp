// Kernels of variants with structured inputs.
#include <attenta/variants/structured/block_recurrent_kernels.inl>
#include <attenta/variants/structured/duplex_kernels.inl>
#include <attenta/variants/structured/resonator_kernels.inl>
#include <attenta/variants/structured/row_kernels.inl>
#include <attenta/variants/structured/sdm_kernels.inl>
#include <attenta/variants/structured/token_pooling_attention_kernels.inl>
