#pragma once

#include <attenta/core/executor.hpp>
#include <attenta/core/fork_mark.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

ATTENTA_BEGIN

struct ThreadPool::Impl {
    std::mutex mutex;  ///< of `start` and `done`
    std::condition_variable start, done;
    std::atomic<bool> busy{false}, stop{false};
    std::atomic<std::int64_t> next{0};
    std::int64_t count = 0;
    const TaskRef* task = nullptr;
    std::atomic<std::uint64_t> generation{0};
    std::atomic<int> running{0};
    std::vector<std::thread> threads;
    ForkMark process;  ///< of the threads

    void work(const TaskRef& fn, int slot) {
        for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) fn(i, slot);
    }

    /// Waking a thread takes longer than many calls do: watches for a while before it sleeps.
    template <class Ready>
    void wait(std::condition_variable& signal, Ready&& ready) {
        using Clock = std::chrono::steady_clock;
        for (const auto until = Clock::now() + std::chrono::microseconds(100); !ready() && Clock::now() < until;)
            std::this_thread::yield();
        if (ready()) return;
        std::unique_lock lock(mutex);
        signal.wait(lock, ready);
    }
    /// After what makes `ready` true: whoever has just found it false is asleep by now.
    void wake(std::condition_variable& signal) {
        { const std::lock_guard lock(mutex); }
        signal.notify_all();
    }

    void loop(int slot) {
        for (std::uint64_t seen = 0;;) {
            wait(start, [&] { return stop || generation != seen; });
            if (stop) return;
            ++seen;
            work(*task, slot);
            if (--running == 0) wake(done);
        }
    }

    /// One more, on the next slot. Returns whether the system gave it.
    bool add_thread() {
        const auto run = [this, slot = static_cast<int>(threads.size()) + 1] { loop(slot); };
#if defined(__cpp_exceptions)
        try {
            threads.emplace_back(run);
        } catch (const std::exception&) {
            return false;
        }
#else
        threads.emplace_back(run);
#endif
        return true;
    }
    void end_threads() {
        stop = true;
        wake(start);
        for (auto& t : threads) t.join();
        threads.clear();
    }
};

ATTENTA_INLINE ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
    if (threads < 0)
        fail("ThreadPool",
             "threads is " + std::to_string(threads) + ", needs at least 1, or 0 for all of the machine's");
    const int wanted = threads > 0 ? threads : std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
    for (int n = 1; n < wanted; ++n) {
        if (impl_->add_thread()) continue;
        impl_->end_threads();
        fail("ThreadPool",
             "threads is " + std::to_string(wanted) + ", the system gives " + std::to_string(n) + " at this time");
    }
}

ATTENTA_INLINE ThreadPool::~ThreadPool() {
    // A forked child has copies of locks in use and of threads that do not exist: to end or destroy them would wait for
    // ever, or meet a new thread at an old one's address. They are left where they are.
    if (impl_->process.forked())
        static_cast<void>(impl_.release());
    else
        impl_->end_threads();
}

ATTENTA_INLINE int ThreadPool::concurrency() const { return static_cast<int>(impl_->threads.size()) + 1; }

ATTENTA_INLINE void ThreadPool::parallel_for(std::int64_t n, TaskRef fn) {
    if (n <= 1 || impl_->threads.empty() || impl_->process.forked() || impl_->busy.exchange(true)) {
        for (std::int64_t i = 0; i < n; ++i) fn(i, 0);
        return;
    }
    impl_->next = 0;
    impl_->count = n;
    impl_->task = &fn;
    impl_->running = static_cast<int>(impl_->threads.size());
    ++impl_->generation;
    impl_->wake(impl_->start);
    impl_->work(fn, 0);
    impl_->wait(impl_->done, [&] { return impl_->running == 0; });
    impl_->busy = false;
}

ATTENTA_END
