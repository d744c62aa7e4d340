// What is compiled once of read-outs of head outputs and values.
#include <attenta/analysis/attention_lens.inl>
#include <attenta/analysis/separability.inl>
#include <attenta/analysis/value_projection.inl>
