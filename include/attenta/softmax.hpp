// Exact softmax attention and the mechanisms that change how a score, a query or a key is formed.
#pragma once

#include <attenta/softmax/merge_state.hpp>
#include <attenta/softmax/positions/attention_buckets.hpp>
#include <attenta/softmax/positions/complex.hpp>
#include <attenta/softmax/positions/modulated_positional.hpp>
#include <attenta/softmax/positions/rope.hpp>
#include <attenta/softmax/positions/rope_nope.hpp>
#include <attenta/softmax/positions/t5_bias.hpp>
#include <attenta/softmax/positions/tree_mask.hpp>
#include <attenta/softmax/relative/disentangled.hpp>
#include <attenta/softmax/relative/persistent_memory.hpp>
#include <attenta/softmax/relative/rcmha.hpp>
#include <attenta/softmax/relative/relative_interaction.hpp>
#include <attenta/softmax/relative/relative_shaw.hpp>
#include <attenta/softmax/relative/relative_xl.hpp>
#include <attenta/softmax/scores/cosine.hpp>
#include <attenta/softmax/scores/multi_token.hpp>
#include <attenta/softmax/scores/path.hpp>
#include <attenta/softmax/scores/relational.hpp>
#include <attenta/softmax/scores/scan.hpp>
#include <attenta/softmax/scores/sink_bias.hpp>
#include <attenta/softmax/scores/skim.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/softmax/weights.hpp>
