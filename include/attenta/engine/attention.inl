// Headers mode: what a mechanism of exact attention needs. Included at the end of mechanism headers alone: an engine
// header that did so would be half read when another one needs it.
#pragma once

#include <attenta/engine/attention/plan.inl>
#include <attenta/engine/common/merge.inl>
#include <attenta/engine/common/own_keys.inl>
#include <attenta/engine/common/own_keys_kernels.inl>
#include <attenta/engine/few/kernels_16_64.inl>
#include <attenta/engine/few/kernels_1_2.inl>
#include <attenta/engine/few/kernels_4_8.inl>
#include <attenta/engine/isa.inl>
#include <attenta/engine/lists/key_lists.inl>
#include <attenta/engine/score/edit_kernels.inl>
#include <attenta/engine/tile/kernels.inl>
