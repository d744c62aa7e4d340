// What is compiled once of engine/: checks and schedules, edits.
#include <attenta/engine/attention/plan.inl>
#include <attenta/engine/isa_named.inl>
#include <attenta/engine/scan/plan.inl>
#include <attenta/engine/score/edits.inl>
