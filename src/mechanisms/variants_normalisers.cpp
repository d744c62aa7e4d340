// What is compiled once of the variants' normalisers, scores, projections and memories.
#include <attenta/variants/common.inl>
#include <attenta/variants/memory/bilinear.inl>
#include <attenta/variants/memory/hopfield.inl>
#include <attenta/variants/memory/intra_decoder.inl>
#include <attenta/variants/memory/intra_temporal.inl>
#include <attenta/variants/normalisers/entmax.inl>
#include <attenta/variants/normalisers/normalized.inl>
#include <attenta/variants/normalisers/relu.inl>
#include <attenta/variants/normalisers/sigmoid.inl>
#include <attenta/variants/normalisers/sparsemax.inl>
#include <attenta/variants/projections/efficient_projection.inl>
#include <attenta/variants/projections/head_embedding.inl>
#include <attenta/variants/projections/optimised.inl>
#include <attenta/variants/projections/super_attention.inl>
#include <attenta/variants/scores/combined.inl>
#include <attenta/variants/scores/mega.inl>
#include <attenta/variants/scores/mega_attention.inl>
