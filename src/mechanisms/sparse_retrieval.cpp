// What is compiled once of retrieval of keys.
#include <attenta/sparse/retrieval/infini_retrieval.inl>
#include <attenta/sparse/retrieval/knn_memory.inl>
#include <attenta/sparse/retrieval/loki.inl>
#include <attenta/sparse/retrieval/modality_adaptive.inl>
#include <attenta/sparse/retrieval/retrieval.inl>
#include <attenta/sparse/retrieval/retrieval_index.inl>
#include <attenta/sparse/retrieval/triangular_spans.inl>
