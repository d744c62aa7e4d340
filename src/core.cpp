// What is compiled once of core/: errors, threads, scratch.
#include <attenta/core/context.inl>
#include <attenta/core/error.inl>
#include <attenta/core/executor.inl>
