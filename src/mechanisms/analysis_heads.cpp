// What is compiled once of read-outs that tell heads apart.
#include <attenta/analysis/attention_vectors.inl>
#include <attenta/analysis/head_distance.inl>
#include <attenta/analysis/head_importance.inl>
#include <attenta/analysis/head_similarity.inl>
#include <attenta/analysis/positional_heads.inl>
#include <attenta/analysis/retrieval_score.inl>
