// Who runs the tasks of a call.
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/core/error.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

ATTENTA_BEGIN

/// A borrowed callable fn(task, slot); valid during the call it is passed to.
class TaskRef {
public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, TaskRef>) TaskRef(F&& f)
        : self_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* s, std::int64_t task, int slot) {
              (*static_cast<std::remove_reference_t<F>*>(s))(task, slot);
          }) {}
    void operator()(std::int64_t task, int slot) const { call_(self_, task, slot); }

private:
    void* self_;
    void (*call_)(void*, std::int64_t, int);
};

/// Runs fn(task, slot) for task = 0 .. n-1, in any order, and returns when all have ended. Two tasks that run at the
/// same time have different slots, 0 <= slot < concurrency(). Tasks do not throw.
class Executor {
public:
    Executor() = default;
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;
    virtual ~Executor() = default;
    virtual int concurrency() const = 0;
    virtual void parallel_for(std::int64_t n, TaskRef fn) = 0;
};

/// The calling thread alone.
class SerialExecutor final : public Executor {
public:
    int concurrency() const override { return 1; }
    void parallel_for(std::int64_t n, TaskRef fn) override {
        for (std::int64_t i = 0; i < n; ++i) fn(i, 0);
    }
};

/// `threads` threads, the caller among them. Tasks are handed out in order; a call from inside a task, or from a second
/// thread while the pool is busy, runs serially on its caller. Threads without work watch for 0.1 ms, then sleep.
///
/// A child of fork() has none of its parent's threads: there the pool runs everything on its caller, and may be
/// destroyed or replaced.
class ThreadPool final : public Executor {
public:
    /// 0: as many as the machine runs at once. Throws Error if `threads` is negative, or if the system gives fewer:
    /// none is left running then.
    explicit ThreadPool(int threads);
    ~ThreadPool() override;
    int concurrency() const override;
    void parallel_for(std::int64_t n, TaskRef fn) override;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Adapter for a pool that the engine already has: `run(n, fn)` must do what Executor::parallel_for says.
template <class Run>
class ExecutorAdapter final : public Executor {
public:
    /// Throws Error if `concurrency`, the number of slots, is below 1.
    ExecutorAdapter(int concurrency, Run run) : concurrency_(concurrency), run_(std::move(run)) {
        if (concurrency < 1)
            fail("ExecutorAdapter", "concurrency is " + std::to_string(concurrency) + ", needs at least 1");
    }
    int concurrency() const override { return concurrency_; }
    void parallel_for(std::int64_t n, TaskRef fn) override { run_(n, fn); }

private:
    int concurrency_;
    Run run_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/executor.inl>
#endif
