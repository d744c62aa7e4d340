// What is compiled once of caches and eviction.
#include <attenta/kv/cache.inl>
#include <attenta/kv/eviction/evictor.inl>
#include <attenta/kv/eviction/window_scores.inl>
#include <attenta/kv/pages.inl>
#include <attenta/kv/row_codec.inl>
