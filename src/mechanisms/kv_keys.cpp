// What is compiled once of policies that look at keys or at what a caller knows of tokens.
#include <attenta/kv/policies/expected_attention.inl>
#include <attenta/kv/policies/keydiff.inl>
#include <attenta/kv/policies/kvzap.inl>
#include <attenta/kv/policies/nats.inl>
#include <attenta/kv/policies/q_filters.inl>
#include <attenta/kv/policies/retrieval_heads.inl>
#include <attenta/kv/policies/streaming.inl>
#include <attenta/kv/retrieval_score.inl>
