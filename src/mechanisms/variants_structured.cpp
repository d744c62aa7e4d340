// What is compiled once of mechanisms with structured inputs.
#include <attenta/variants/structured/conditioned.inl>
#include <attenta/variants/structured/head_offset.inl>
#include <attenta/variants/structured/label.inl>
#include <attenta/variants/structured/spectral_dictionary.inl>
#include <attenta/variants/structured/triadic.inl>
#include <attenta/variants/structured/triadic_select.inl>
// What is compiled once of variants with structured inputs.
#include <attenta/variants/structured/block_recurrent.inl>
#include <attenta/variants/structured/duplex.inl>
#include <attenta/variants/structured/resonator.inl>
#include <attenta/variants/structured/sdm.inl>
#include <attenta/variants/structured/sdm_tables.inl>
#include <attenta/variants/structured/token_pooling_attention.inl>
