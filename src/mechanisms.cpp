// What is compiled once of the mechanisms and caches.
#include <attenta/kv/cache.inl>
#include <attenta/linear/decay/lightning.inl>
#include <attenta/linear/decay/mamba2.inl>
#include <attenta/linear/decay/retention.inl>
#include <attenta/linear/features/kernel_linear.inl>
#include <attenta/linear/features/performer.inl>
#include <attenta/softmax/merge_state.inl>
#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.inl>
