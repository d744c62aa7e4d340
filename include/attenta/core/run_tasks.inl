#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/core/run_tasks.hpp>

#if defined(__cpp_exceptions)
#include <atomic>
#include <exception>
#endif

ATTENTA_BEGIN

#if defined(__cpp_exceptions)
ATTENTA_INLINE void run_tasks(Executor& executor, std::int64_t n, TaskRef fn) {
    std::atomic<bool> failed{false};
    std::exception_ptr first;
    executor.parallel_for(n, [&](std::int64_t task, int slot) {
        if (failed.load(std::memory_order_relaxed)) return;
        try {
            const FlushToZero flush;
            fn(task, slot);
        } catch (...) {
            if (!failed.exchange(true)) first = std::current_exception();
        }
    });
    if (first) std::rethrow_exception(first);
}
#else
ATTENTA_INLINE void run_tasks(Executor& executor, std::int64_t n, TaskRef fn) {
    executor.parallel_for(n, [&](std::int64_t task, int slot) {
        const FlushToZero flush;
        fn(task, slot);
    });
}
#endif

ATTENTA_END
