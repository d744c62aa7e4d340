// What is compiled once of the mechanisms and caches.
#include <attenta/kv/cache.inl>
#include <attenta/linear/delta_rule.inl>
#include <attenta/linear/gated_delta_rule.inl>
#include <attenta/linear/gla.inl>
#include <attenta/linear/hgrn2.inl>
#include <attenta/linear/kda.inl>
#include <attenta/linear/kernel_linear.inl>
#include <attenta/linear/lightning.inl>
#include <attenta/linear/mamba2.inl>
#include <attenta/linear/performer.inl>
#include <attenta/linear/retention.inl>
#include <attenta/linear/rwkv6.inl>
#include <attenta/linear/rwkv7.inl>
#include <attenta/softmax/merge_state.inl>
#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.inl>
