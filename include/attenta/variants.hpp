// Attention variants: other scores, other normalisers, other uses of the weights.
#pragma once

#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/structured/block_recurrent.hpp>
#include <attenta/variants/structured/duplex.hpp>
#include <attenta/variants/structured/resonator.hpp>
#include <attenta/variants/structured/sdm.hpp>
#include <attenta/variants/structured/token_pooling_attention.hpp>
