// Gates on feature maps: channels, positions and pixels of [C, H, W].
#pragma once

#include <attenta/gating/cbam.hpp>
#include <attenta/gating/channel_attention.hpp>
#include <attenta/gating/class_semantics.hpp>
#include <attenta/gating/pixel_attention.hpp>
#include <attenta/gating/relationship_attention.hpp>
#include <attenta/gating/residual_attention.hpp>
#include <attenta/gating/sentence_attention.hpp>
