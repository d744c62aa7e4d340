// Element types, views, executors, workspaces, instruction sets.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::bfloat16;
using attenta::float16;

/// The nearest number with `digits` binary digits after the first and exponents from `least`; ties go to even.
double rounded(double x, int digits, int least) {
    if (x == 0 || std::isinf(x)) return x;
    const double quantum = std::ldexp(1.0, std::max(std::ilogb(x), least) - digits);
    return std::nearbyint(x / quantum) * quantum;
}

float rounded_to_half(float x) {
    const double r = rounded(double{x}, 10, -14);
    return std::abs(r) >= 65536 ? std::copysign(std::numeric_limits<float>::infinity(), x) : static_cast<float>(r);
}

float rounded_to_bfloat(float x) {
    const double r = rounded(double{x}, 7, -126);
    return std::abs(r) >= 0x1p128 ? std::copysign(std::numeric_limits<float>::infinity(), x) : static_cast<float>(r);
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

void expect_rounding(float x) {
    ASSERT_EQ(bits(static_cast<float>(float16(x))), bits(rounded_to_half(x))) << x;
    ASSERT_EQ(bits(static_cast<float>(bfloat16(x))), bits(rounded_to_bfloat(x))) << x;
}

/// The value of a half, from its fields.
double half_value(std::uint32_t h) {
    const int exponent = static_cast<int>((h >> 10) & 31u), fraction = static_cast<int>(h & 1023u);
    const double magnitude = exponent == 31  ? std::numeric_limits<double>::infinity()
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000u ? -magnitude : magnitude;
}

TEST(Dtypes, EveryHalfSurvivesTheWayToFloatAndBack) {
    for (std::uint32_t h = 0; h < 65536; ++h) {
        float16 x;
        x.bits = static_cast<std::uint16_t>(h);
        const float f = x;
        if ((h & 0x7fffu) > 0x7c00u) {
            ASSERT_TRUE(std::isnan(f) && std::isnan(static_cast<float>(float16(f)))) << h;
        } else {
            ASSERT_EQ(double{f}, half_value(h)) << h;
            ASSERT_EQ(float16(f).bits, h);
        }
    }
}

TEST(Dtypes, EveryBfloatSurvivesTheWayToFloatAndBack) {
    for (std::uint32_t h = 0; h < 65536; ++h) {
        bfloat16 x;
        x.bits = static_cast<std::uint16_t>(h);
        const float f = x;
        if ((h & 0x7fffu) > 0x7f80u) {
            ASSERT_TRUE(std::isnan(f) && std::isnan(static_cast<float>(bfloat16(f)))) << h;
        } else {
            ASSERT_EQ(bits(f), h << 16);
            ASSERT_EQ(bfloat16(f).bits, h);
        }
    }
}

TEST(Dtypes, FloatsRoundToTheNearestWithTiesToEven) {
    Random random(1);
    for (int i = 0; i < 300000; ++i) {
        const float any = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
        if (!std::isnan(any)) expect_rounding(any);
        expect_rounding(random.normal() * 1000);
        expect_rounding(random.normal() * 1e-6f);
    }
}

/// At each half, halfway to the next and one step beside that.
TEST(Dtypes, FloatsAtTheEdgesOfRoundingRoundRight) {
    for (std::uint32_t h = 0; h < 0x7c00u; ++h) {
        const float low = static_cast<float>(half_value(h)),
                    high = h == 0x7bffu ? 65536.0f : static_cast<float>(half_value(h + 1));
        const float middle = low / 2 + high / 2;
        for (const float x : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e6f)})
            expect_rounding(x), expect_rounding(-x);
    }
    for (std::uint32_t h = 0; h < 0x7f80u; ++h)
        for (const std::uint32_t low : {0x7fffu, 0x8000u, 0x8001u})
            expect_rounding(std::bit_cast<float>((h << 16) | low));
}

TEST(Dtypes, InfinityAndNanStayWhatTheyAre) {
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(static_cast<float>(float16(-infinity)), -infinity);
    EXPECT_EQ(static_cast<float>(bfloat16(infinity)), infinity);
    for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0x7f80ffffu}) {
        EXPECT_TRUE(std::isnan(static_cast<float>(float16(std::bit_cast<float>(nan)))));
        EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(nan)))));
    }
}

TEST(Views, BothOrdersOfMemoryFindTheSameRow) {
    std::vector<int> x(2 * 3 * 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i);
    EXPECT_EQ(attenta::hnd(x.data(), 2, 3, 5).row(1, 2)[4], (1 * 3 + 2) * 5 + 4);
    EXPECT_EQ(attenta::nhd(x.data(), 3, 2, 5).row(1, 2)[4], (2 * 2 + 1) * 5 + 4);
    EXPECT_EQ(attenta::nhd(x.data(), 3, 2, 5).slice(1, 2).row(1, 1)[4], (2 * 2 + 1) * 5 + 4);
    const attenta::Matrices<int> shared{x.data(), 1, 6, 5}, separate{x.data(), 2, 3, 5};
    EXPECT_EQ(shared.row(7, 4)[1], 21);
    EXPECT_EQ(separate.row(1, 2)[1], 26);
}

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

bool aligned(const void* p, std::uintptr_t to) { return reinterpret_cast<std::uintptr_t>(p) % to == 0; }

TEST(Workspaces, GrowAndStayAligned) {
    attenta::Workspace workspace;
    EXPECT_EQ(workspace.size(), 0u);
    for (const std::size_t bytes :
         {std::size_t{1}, std::size_t{100}, std::size_t{5000}, std::size_t{3} << 20, std::size_t{9} << 20}) {
        std::byte* p = workspace.reserve(bytes);
        ASSERT_NE(p, nullptr);
        EXPECT_TRUE(aligned(p, 64));
        EXPECT_GE(workspace.size(), bytes);
        p[0] = p[bytes - 1] = std::byte{1};
    }
    std::byte* large = workspace.data();
    EXPECT_EQ(workspace.reserve(10), large) << "a smaller request keeps what is there";
}

TEST(Workspaces, TakeMemoryFromTheUsersAllocator) {
    std::size_t taken = 0, released = 0;
    const attenta::Allocator allocator{[&](std::size_t bytes) {
                                           taken += bytes;
                                           return ::operator new (bytes, std::align_val_t{64});
                                       },
                                       [&](void* p, std::size_t bytes) {
                                           released += bytes;
                                           ::operator delete (p, std::align_val_t{64});
                                       }};
    {
        attenta::Workspace workspace(allocator);
        workspace.reserve(1000)[999] = std::byte{1};
        workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
        EXPECT_GE(taken, (std::size_t{8} << 20) + 1000);
        const std::size_t before = taken;
        workspace.reserve(500);
        EXPECT_EQ(taken, before);
    }
    EXPECT_EQ(taken, released);
}

TEST(Workspaces, SurviveAnAllocatorThatThrows) {
    bool fails = false;
    attenta::Workspace workspace({[&](std::size_t bytes) {
                                      if (fails) throw std::bad_alloc();
                                      return ::operator new (bytes, std::align_val_t{64});
                                  },
                                  [](void* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }});
    workspace.reserve(64);
    fails = true;
    EXPECT_THROW(workspace.reserve(std::size_t{8} << 20), std::bad_alloc);
    fails = false;
    workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
}

TEST(Isas, NamesAreReadBack) {
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        EXPECT_EQ(attenta::isa_named(attenta::name(isa)), isa);
    }
    EXPECT_FALSE(attenta::isa_named("mmx"));
    EXPECT_FALSE(attenta::isa_named(""));
}

TEST(Isas, TheActiveOneIsAvailable) {
    EXPECT_TRUE(attenta::is_available(attenta::active_isa()));
    EXPECT_FALSE(available_isas().empty());
}

TEST(Isas, OnlyAvailableOnesCanBeChosen) {
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        if (attenta::is_available(isa)) {
            EXPECT_TRUE(attenta::is_compiled(isa));
            const IsaScope scope(isa);
            EXPECT_EQ(attenta::active_isa(), isa);
        } else {
            EXPECT_TRUE(refuses([&] { attenta::set_isa(isa); }, {"set_isa", attenta::name(isa)}));
        }
    }
}

TEST(Errors, AreInvalidArgumentsThatNameTheFunction) {
    try {
        attenta::fail("quest_attention", "budget is 40, needs at least one page (page = 64)");
    } catch (const std::invalid_argument& e) {
        EXPECT_STREQ(e.what(), "quest_attention: budget is 40, needs at least one page (page = 64)");
    }
}

}  // namespace
}  // namespace attenta_test
