// What is compiled once of engine/: checks and schedules, edits.
#include <attenta/engine/edits.inl>
#include <attenta/engine/isa_named.inl>
#include <attenta/engine/scan.inl>
#include <attenta/engine/tile.inl>
