// Read-outs of attention, and calibrations of attention weights and head outputs.
#pragma once

#include <attenta/analysis/attention_lens.hpp>
#include <attenta/analysis/attention_vectors.hpp>
#include <attenta/analysis/calibrate_position.hpp>
#include <attenta/analysis/calibrate_sinks.hpp>
#include <attenta/analysis/circuit_svd.hpp>
#include <attenta/analysis/cka.hpp>
#include <attenta/analysis/concentration.hpp>
#include <attenta/analysis/context_contribution.hpp>
#include <attenta/analysis/diversity.hpp>
#include <attenta/analysis/feature_alignment.hpp>
#include <attenta/analysis/flow.hpp>
#include <attenta/analysis/head_distance.hpp>
#include <attenta/analysis/head_importance.hpp>
#include <attenta/analysis/head_intervention.hpp>
#include <attenta/analysis/head_similarity.hpp>
#include <attenta/analysis/massive_activations.hpp>
#include <attenta/analysis/positional_heads.hpp>
#include <attenta/analysis/retrieval_score.hpp>
#include <attenta/analysis/rollout.hpp>
#include <attenta/analysis/separability.hpp>
#include <attenta/analysis/sink_metrics.hpp>
#include <attenta/analysis/textspan.hpp>
#include <attenta/analysis/token_rescale.hpp>
#include <attenta/analysis/value_projection.hpp>
