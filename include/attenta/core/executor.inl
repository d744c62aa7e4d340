#pragma once

#include <attenta/core/executor.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
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
};

ATTENTA_INLINE ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
    for (int slot = 1; slot < std::max(threads, 1); ++slot)
        impl_->threads.emplace_back([impl = impl_.get(), slot] { impl->loop(slot); });
}

ATTENTA_INLINE ThreadPool::~ThreadPool() {
    impl_->stop = true;
    impl_->wake(impl_->start);
    for (auto& t : impl_->threads) t.join();
}

ATTENTA_INLINE int ThreadPool::concurrency() const { return static_cast<int>(impl_->threads.size()) + 1; }

ATTENTA_INLINE void ThreadPool::parallel_for(std::int64_t n, TaskRef fn) {
    if (n <= 1 || impl_->threads.empty() || impl_->busy.exchange(true)) {
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
