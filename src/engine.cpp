// What is compiled once of engine/: checks and schedules.
#include <attenta/engine/attention/plan.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/common/own_keys.inl>
#include <attenta/engine/dense/convolve.inl>
#include <attenta/engine/dense/layers.inl>
#include <attenta/engine/dense/plan.inl>
#include <attenta/engine/elementwise/plan.inl>
#include <attenta/engine/lists/key_lists.inl>
#include <attenta/engine/scan/plan.inl>
#include <attenta/engine/select/plan.inl>
