// What is compiled once of core/: errors, threads, scratch, states.
#include <attenta/core/context.inl>
#include <attenta/core/error.inl>
#include <attenta/core/executor.inl>
#include <attenta/core/kv_view.inl>
#include <attenta/core/linear_state.inl>
#include <attenta/core/run_tasks.inl>
#include <attenta/core/state_snapshots.inl>
