// What is compiled once of the mechanisms around exact softmax.
#include <attenta/softmax/common.inl>
#include <attenta/softmax/positions/attention_buckets.inl>
#include <attenta/softmax/positions/complex.inl>
#include <attenta/softmax/positions/modulated_positional.inl>
#include <attenta/softmax/positions/rope.inl>
#include <attenta/softmax/positions/rope_nope.inl>
#include <attenta/softmax/positions/t5_bias.inl>
#include <attenta/softmax/positions/tree_mask.inl>
#include <attenta/softmax/scores/cosine.inl>
#include <attenta/softmax/scores/scan.inl>
#include <attenta/softmax/scores/sink_bias.inl>
#include <attenta/softmax/scores/skim.inl>
