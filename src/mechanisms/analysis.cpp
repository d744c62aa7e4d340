// What is compiled once of read-outs of attention weights.
#include <attenta/analysis/common/check.inl>
#include <attenta/analysis/concentration.inl>
#include <attenta/analysis/context_contribution.inl>
#include <attenta/analysis/diversity.inl>
#include <attenta/analysis/flow.inl>
#include <attenta/analysis/rollout.inl>
#include <attenta/analysis/sink_metrics.inl>
