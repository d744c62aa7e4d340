// What is compiled once of exact attention and caches.
#include <attenta/kv/cache.inl>
#include <attenta/softmax/merge_state.inl>
#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.inl>
