// What is compiled once of policies with a budget for a layer, and of merging.
#include <attenta/kv/eviction/head_shares.inl>
#include <attenta/kv/policies/ada_kv.inl>
#include <attenta/kv/policies/defensive_kv.inl>
#include <attenta/kv/policies/kv_merge.inl>
#include <attenta/kv/policies/lagkv.inl>
#include <attenta/kv/token_pooling.inl>
