// Executors: threads, adapters, forked children.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/forked_child.hpp"

namespace attenta_test {
namespace {

/// Every task once, tasks of the same time on different slots.
void expect_every_task_once(attenta::Executor& executor, std::int64_t n) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n)),
        busy(static_cast<std::size_t>(executor.concurrency()));
    std::atomic<int> clashes = 0;
    executor.parallel_for(n, [&](std::int64_t task, int slot) {
        if (slot < 0 || slot >= executor.concurrency()) return void(++clashes);
        if (busy[static_cast<std::size_t>(slot)].exchange(1) != 0) ++clashes;
        ++runs[static_cast<std::size_t>(task)];
        busy[static_cast<std::size_t>(slot)] = 0;
    });
    EXPECT_EQ(clashes, 0);
    for (const auto& r : runs) ASSERT_EQ(r, 1);
}

TEST(Executors, RunEveryTaskOnceWithASlotOfItsOwn) {
    for (const int threads : {1, 2, 3, 8}) {
        attenta::ThreadPool pool(threads);
        EXPECT_EQ(pool.concurrency(), threads);
        for (const std::int64_t n : {0, 1, 2, 7, 1000}) expect_every_task_once(pool, n);
    }
    attenta::SerialExecutor serial;
    expect_every_task_once(serial, 100);
}

TEST(Executors, APoolSurvivesManyTinyJobs) {
    attenta::ThreadPool pool(3);
    std::atomic<std::int64_t> sum = 0;
    for (int job = 0; job < 20000; ++job) pool.parallel_for(3, [&](std::int64_t task, int) { sum += task + 1; });
    EXPECT_EQ(sum, 6 * 20000);
}

TEST(Executors, WhatTasksWroteIsSeenAfterTheCall) {
    attenta::ThreadPool pool(4);
    std::vector<std::int64_t> plain(500);
    for (std::int64_t round = 1; round < 50; ++round) {
        pool.parallel_for(500, [&](std::int64_t task, int) { plain[static_cast<std::size_t>(task)] += task; });
        for (std::int64_t t = 0; t < 500; ++t) ASSERT_EQ(plain[static_cast<std::size_t>(t)], round * t);
    }
}

TEST(Executors, ANestedCallRunsOnItsCaller) {
    attenta::ThreadPool pool(3);
    std::atomic<int> inner = 0, strangers = 0;
    pool.parallel_for(20, [&](std::int64_t, int) {
        const std::thread::id caller = std::this_thread::get_id();
        pool.parallel_for(10, [&](std::int64_t, int slot) {
            ++inner;
            if (std::this_thread::get_id() != caller || slot < 0 || slot >= 3) ++strangers;
        });
    });
    EXPECT_EQ(inner, 200);
    EXPECT_EQ(strangers, 0);
}

TEST(Executors, APoolServesSeveralThreads) {
    attenta::ThreadPool pool(2);
    std::array<std::atomic<std::int64_t>, 4> sums{};
    std::vector<std::thread> threads;
    for (auto& sum : sums)
        threads.emplace_back([&] {
            for (int job = 0; job < 500; ++job) pool.parallel_for(10, [&](std::int64_t task, int) { sum += task; });
        });
    for (std::thread& t : threads) t.join();
    for (const auto& sum : sums) EXPECT_EQ(sum, 45 * 500);
}

TEST(Executors, AnAdapterPassesTasksOn) {
    attenta::ExecutorAdapter adapter(5, [](std::int64_t n, attenta::TaskRef fn) {
        for (std::int64_t i = n; i-- > 0;) fn(i, static_cast<int>(i % 5));
    });
    EXPECT_EQ(adapter.concurrency(), 5);
    expect_every_task_once(adapter, 33);
}

TEST(Executors, HaveAtLeastOneSlot) {
    const auto adapter = [](int slots) {
        return [slots] { attenta::ExecutorAdapter(slots, [](std::int64_t, attenta::TaskRef) {}); };
    };
    EXPECT_TRUE(refuses(adapter(0), {"ExecutorAdapter", "concurrency", "0", "1"}));
    EXPECT_TRUE(refuses(adapter(-3), {"ExecutorAdapter", "concurrency", "-3", "1"}));
    struct Nobody final : attenta::Executor {
        int concurrency() const override { return 0; }
        void parallel_for(std::int64_t, attenta::TaskRef) override {}
    } nobody;
    EXPECT_TRUE(refuses([&] { attenta::Context context(nobody); }, {"Context", "concurrency", "0", "1"}));
}

TEST(Executors, APoolOf0HasTheMachinesThreads) {
    attenta::ThreadPool pool(0);
    EXPECT_EQ(pool.concurrency(), std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
    expect_every_task_once(pool, 100);
    EXPECT_TRUE(refuses([] { attenta::ThreadPool(-1); }, {"ThreadPool", "threads", "-1"}));
}

#if defined(ATTENTA_TEST_FORK)

TEST(Executors, APoolThatGetsTooFewThreadsIsRefusedAndLeavesNone) {
    const int result = in_forked_child([] {
        if (!limit_address_space(std::size_t{1} << 30)) return 2;
        const bool refused = bool(refuses([] { attenta::ThreadPool(2000); }, {"ThreadPool", "2000"}));
        if (!refused) return 2;  // no limit here, as under an emulator
        if (threads_of_this_process() > 1) return 1;
        attenta::ThreadPool small(2);
        return small.concurrency() == 2 ? 0 : 1;
    });
    if (result == 2) GTEST_SKIP() << "the system gives 2000 threads";
    EXPECT_EQ(result, 0);
}

TEST(Executors, AForkedChildRunsThePoolOnItsCaller) {
    attenta::ThreadPool pool(3);
    expect_every_task_once(pool, 10);
    EXPECT_EQ(in_forked_child([&] {
                  int strangers = 0, runs = 0;
                  const std::thread::id caller = std::this_thread::get_id();
                  pool.parallel_for(100, [&](std::int64_t, int slot) {
                      ++runs;
                      if (std::this_thread::get_id() != caller || slot != 0) ++strangers;
                  });
                  return runs == 100 && strangers == 0 ? 0 : 1;
              }),
              0);
    expect_every_task_once(pool, 10);
}

TEST(Executors, AForkedChildMayDestroyOrReplaceThePool) {
    auto pool = std::make_unique<attenta::ThreadPool>(3);
    expect_every_task_once(*pool, 10);
    EXPECT_EQ(in_forked_child([&] {
                  pool.reset();
                  return 0;
              }),
              0);
    EXPECT_EQ(in_forked_child([&] {
                  for (int i = 0; i < 5; ++i) {
                      auto fresh = std::make_unique<attenta::ThreadPool>(3);
                      std::atomic<int> runs = 0;
                      fresh->parallel_for(100, [&](std::int64_t, int) { ++runs; });
                      if (runs != 100) return 1;
                      pool = std::move(fresh);
                  }
                  return 0;
              }),
              0);
    expect_every_task_once(*pool, 10);
}

#endif

}  // namespace
}  // namespace attenta_test
