// Headers mode: all of the engine, declarations before definitions. Included at the end of mechanism headers alone: an
// engine header that did so would be half read when another one needs it.
#pragma once

#include <attenta/engine/attention/plan.inl>
#include <attenta/engine/scan/plan.inl>
#include <attenta/engine/score/edits.inl>

#include <attenta/engine/backend.inl>
