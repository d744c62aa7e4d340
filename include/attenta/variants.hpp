// Attention variants: other scores, other normalisers, other uses of the weights.
#pragma once

#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/memory/hopfield.hpp>
#include <attenta/variants/memory/intra_decoder.hpp>
#include <attenta/variants/memory/intra_temporal.hpp>
#include <attenta/variants/normalisers/entmax.hpp>
#include <attenta/variants/normalisers/normalized.hpp>
#include <attenta/variants/normalisers/relu.hpp>
#include <attenta/variants/normalisers/sigmoid.hpp>
#include <attenta/variants/normalisers/sparsemax.hpp>
#include <attenta/variants/projections/efficient_projection.hpp>
#include <attenta/variants/projections/head_embedding.hpp>
#include <attenta/variants/projections/optimised.hpp>
#include <attenta/variants/projections/super_attention.hpp>
#include <attenta/variants/scores/combined.hpp>
#include <attenta/variants/scores/mega.hpp>
#include <attenta/variants/scores/mega_attention.hpp>
#include <attenta/variants/structured/block_recurrent.hpp>
#include <attenta/variants/structured/duplex.hpp>
#include <attenta/variants/structured/resonator.hpp>
#include <attenta/variants/structured/sdm.hpp>
#include <attenta/variants/structured/token_pooling_attention.hpp>
