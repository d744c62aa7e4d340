// What is compiled once of variants with structured inputs.
#include <attenta/variants/structured/block_recurrent.inl>
#include <attenta/variants/structured/duplex.inl>
#include <attenta/variants/structured/resonator.inl>
#include <attenta/variants/structured/sdm.inl>
#include <attenta/variants/structured/sdm_tables.inl>
#include <attenta/variants/structured/token_pooling_attention.inl>
