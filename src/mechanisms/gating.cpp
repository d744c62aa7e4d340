// What is compiled once of gates on feature maps.
#include <attenta/gating/cbam.inl>
#include <attenta/gating/channel_attention.inl>
#include <attenta/gating/class_semantics.inl>
#include <attenta/gating/common.inl>
#include <attenta/gating/pixel_attention.inl>
#include <attenta/gating/relationship_attention.inl>
#include <attenta/gating/residual_attention.inl>
#include <attenta/gating/sentence_attention.inl>
