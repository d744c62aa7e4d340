// What is compiled once of static patterns.
#include <attenta/sparse/patterns/bigbird.inl>
#include <attenta/sparse/patterns/fixed.inl>
#include <attenta/sparse/patterns/head_strides.inl>
#include <attenta/sparse/patterns/hierarchical_document.inl>
#include <attenta/sparse/patterns/local_global.inl>
#include <attenta/sparse/patterns/star.inl>
#include <attenta/sparse/patterns/strided.inl>
#include <attenta/sparse/patterns/token_types.inl>
