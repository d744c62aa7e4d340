// What is compiled once of read-outs of documents and sentences, of relations, and of vectors that heads make.
#include <attenta/analysis/document_order.inl>
#include <attenta/analysis/function_vector.inl>
#include <attenta/analysis/head_relevance.inl>
#include <attenta/analysis/relations.inl>
#include <attenta/analysis/sentinel_features.inl>
