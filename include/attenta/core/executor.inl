#pragma once

#include <attenta/core/executor.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

ATTENTA_BEGIN

struct ThreadPool::Impl {
    std::mutex mutex;
    std::condition_variable start, done;
    std::atomic<bool> busy{false};
    std::atomic<std::int64_t> next{0};
    std::int64_t count = 0;
    const TaskRef* task = nullptr;
    std::uint64_t generation = 0;
    int running = 0;
    bool stop = false;
    std::vector<std::thread> threads;

    void work(const TaskRef& fn, int slot) {
        for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) fn(i, slot);
    }

    void loop(int slot) {
        std::uint64_t seen = 0;
        std::unique_lock lock(mutex);
        for (;;) {
            start.wait(lock, [&] { return stop || generation != seen; });
            if (stop) return;
            seen = generation;
            const TaskRef* fn = task;
            lock.unlock();
            work(*fn, slot);
            lock.lock();
            if (--running == 0) done.notify_one();
        }
    }
};

ATTENTA_INLINE ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
    for (int slot = 1; slot < std::max(threads, 1); ++slot)
        impl_->threads.emplace_back([impl = impl_.get(), slot] { impl->loop(slot); });
}

ATTENTA_INLINE ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stop = true;
    }
    impl_->start.notify_all();
    for (auto& t : impl_->threads) t.join();
}

ATTENTA_INLINE int ThreadPool::concurrency() const { return static_cast<int>(impl_->threads.size()) + 1; }

ATTENTA_INLINE void ThreadPool::parallel_for(std::int64_t n, TaskRef fn) {
    if (n <= 1 || impl_->threads.empty() || impl_->busy.exchange(true)) {
        for (std::int64_t i = 0; i < n; ++i) fn(i, 0);
        return;
    }
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->next = 0;
        impl_->count = n;
        impl_->task = &fn;
        impl_->running = static_cast<int>(impl_->threads.size());
        ++impl_->generation;
    }
    impl_->start.notify_all();
    impl_->work(fn, 0);
    std::unique_lock lock(impl_->mutex);
    impl_->done.wait(lock, [&] { return impl_->running == 0; });
    lock.unlock();
    impl_->busy = false;
}

ATTENTA_END
