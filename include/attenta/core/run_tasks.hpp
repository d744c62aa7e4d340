// The tasks of a call, some of which may run code of the user's.
#pragma once

#include <attenta/core/executor.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// executor.parallel_for with subnormal numbers flushed to zero, for tasks that may throw: tasks that have not begun by
/// then are left out, and when the others have ended, the caller gets the first exception. Executor and threads stay as
/// they were.
void run_tasks(Executor& executor, std::int64_t n, TaskRef fn);

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/run_tasks.inl>
#endif
