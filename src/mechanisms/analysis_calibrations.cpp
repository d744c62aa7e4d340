// What is compiled once of attention whose weights or outputs are changed.
#include <attenta/analysis/calibrate_position.inl>
#include <attenta/analysis/calibrate_sinks.inl>
#include <attenta/analysis/head_intervention.inl>
#include <attenta/analysis/massive_activations.inl>
#include <attenta/analysis/token_rescale.inl>
