// Checked integers, element types, views of tensors and caches, executors, workspaces, instruction sets.
#include <attenta/attenta.hpp>
#include <attenta/engine/common/tuning.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/forked_child.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::bfloat16;
using attenta::float16;

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max(),
                       lowest = std::numeric_limits<std::int64_t>::min();

TEST(CheckedInts, KnowWhetherTheyAreTheTrueResult) {
    using attenta::CheckedInt;
    EXPECT_EQ((CheckedInt(3) * 4 + 5 - 20).value(), -3);
    EXPECT_TRUE((CheckedInt(3) * 4 + 5 - 20).valid());
    EXPECT_TRUE((CheckedInt(most - 1) + 1).valid());
    EXPECT_FALSE((CheckedInt(most) + 1).valid());
    EXPECT_FALSE((CheckedInt(lowest) - 1).valid());
    EXPECT_FALSE((CheckedInt(std::int64_t{1} << 32) * (std::int64_t{1} << 31)).valid());
    EXPECT_TRUE((CheckedInt(-(std::int64_t{1} << 32)) * (std::int64_t{1} << 31)).valid());
    EXPECT_FALSE((CheckedInt(lowest) * -1).valid());
    EXPECT_FALSE(((CheckedInt(most) + 1) * 0).valid()) << "what is made of a wrong number is wrong";
    EXPECT_FALSE((1 - (CheckedInt(most) + 1)).valid());
}

TEST(Tuning, IsChosenByTheProcessor) {
    using attenta::tuning_of, attenta::Vendor;
    EXPECT_STREQ(tuning_of({}).name, "generic");
    EXPECT_STREQ(tuning_of({Vendor::intel, 6}).name, "intel");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x17}).name, "generic");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x19}).name, "zen4");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x1a}).name, "zen5");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x1b}).name, "zen5") << "what comes next is most like the last";
    EXPECT_STREQ(tuning_of({Vendor::other, 0x1a}).name, "generic");
}

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

TEST(Dtypes, TheLargestNumberIsTheLastThatStaysFinite) {
    for (const float x : {attenta::largest(attenta::Dtype::f16), 65504.0f})
        EXPECT_EQ(static_cast<float>(float16(x)), x);
    const float b = attenta::largest(attenta::Dtype::bf16), up = std::numeric_limits<float>::infinity();
    EXPECT_EQ(static_cast<float>(bfloat16(b)), b);
    bfloat16 next(b);
    ++next.bits;
    EXPECT_EQ(static_cast<float>(next), up);
    EXPECT_EQ(attenta::largest(attenta::Dtype::f32), std::numeric_limits<float>::max());
}

TEST(Dtypes, NumbersOfNoDtypeHaveNoName) {
    EXPECT_FALSE(attenta::is_dtype(attenta::Dtype(3)));
    EXPECT_STREQ(attenta::name(attenta::Dtype(3)), "unknown");
    EXPECT_STREQ(attenta::name(attenta::Dtype::f16), "f16");
}

TEST(Views, StridesAreNamedWhereMemoryHasGaps) {
    std::vector<int> x(1000);
    std::iota(x.begin(), x.end(), 0);
    int* const p = x.data();
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.token_stride = 40}).row(1, 2), 2 * 40 + 5);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.head_stride = 8}).row(1, 2), 2 * 16 + 8);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.token_stride = 40, .head_stride = 8}).row(1, 2), 2 * 40 + 8);
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.head_stride = 40}).row(1, 2), 40 + 2 * 5);
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.token_stride = 8}).row(1, 2), 3 * 8 + 2 * 8);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.head_stride = 0}).row(1, 2), 2 * 5) << "heads share the rows of a token";
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.token_stride = 0}).row(1, 2), 5) << "tokens share the row of a head";
}

TEST(Views, RefuseWhatLeaves64BitsAndTokensThatAreNotThere) {
    float x = 0;
    const std::int64_t large = std::int64_t{1} << 32;
    EXPECT_TRUE(refuses([&] { attenta::hnd(&x, 1, large, large); }, {"hnd", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::nhd(&x, 1, large, large); }, {"nhd", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::nhd(&x, 1, 3, 5, {.head_stride = most}); }, {"nhd", "3"}));
    const auto view = attenta::hnd(&x, 1, 10, 1);
    EXPECT_TRUE(refuses([&] { view.slice(3, 8); }, {"slice", "8", "3", "10"}));
    EXPECT_TRUE(refuses([&] { view.slice(-1, 2); }, {"slice", "-1"}));
    EXPECT_TRUE(refuses([&] { view.slice(1, -2); }, {"slice", "-2"}));
    EXPECT_TRUE(refuses([&] { view.slice(1, most); }, {"slice"}));
    EXPECT_EQ(view.slice(10, 0).tokens, 0);
}

using attenta::KvView;

/// K and V [page, token, head, dim] of 4 pages of 2 tokens of 2 heads.
struct Pool {
    std::vector<float> k = std::vector<float>(4 * 2 * 2 * 5), v = std::vector<float>(4 * 2 * 2 * 3);
    std::vector<std::int32_t> table = {3, -1, 0}, lengths = {5};
    KvView::Pages pages{.pages = 4,
                        .page_stride = 20,
                        .v_page_stride = 12,
                        .layer_stride = 0,
                        .block_table = table.data(),
                        .table_stride = 3,
                        .lengths = lengths.data()};

    KvView view() const {
        return KvView::paged(attenta::nhd(k.data(), 2, 2, 5), attenta::nhd(v.data(), 2, 2, 3), pages);
    }
};

TEST(KvViews, LocateReadsNoPageThatIsNotThere) {
    const Pool pool;
    const std::byte *k[5], *v[5];
    pool.view().locate(0, 0, 5, k, v);
    const auto at = [](const std::vector<float>& x, std::int64_t element) {
        return reinterpret_cast<const std::byte*>(x.data() + element);
    };
    EXPECT_EQ(k[0], at(pool.k, 3 * 20));
    EXPECT_EQ(v[1], at(pool.v, 3 * 12 + 6));
    EXPECT_EQ(k[2], at(pool.k, 0)) << "any row of the pool will do";
    EXPECT_EQ(v[3], at(pool.v, 6));
    EXPECT_EQ(k[4], at(pool.k, 0));
}

TEST(KvViews, PagesWithoutAStrideOrLengthsAreRefused) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto spoil) {
        Pool pool;
        spoil(pool.pages);
        return refuses([&] { pool.view(); }, words);
    };
    EXPECT_TRUE(refused({"paged", "page_stride", "0"}, [](auto& p) { p.page_stride = 0; }));
    EXPECT_TRUE(refused({"paged", "page_stride", "-4"}, [](auto& p) { p.page_stride = -4; }));
    EXPECT_TRUE(refused({"paged", "lengths", "null", "1"}, [](auto& p) { p.lengths = nullptr; }));
    EXPECT_TRUE(refused({"v_page_stride", "3", "5"}, [](auto& p) { p.v_page_stride = 0; }));
    EXPECT_TRUE(refused({"v_layer_stride", "3", "5"}, [](auto& p) { p.layer_stride = 80; }));
    const Pool pool;
    const auto k = attenta::nhd(pool.k.data(), 2, 2, 5);
    EXPECT_TRUE(
        refuses([&] { KvView::paged(k, attenta::nhd(pool.v.data(), 1, 2, 3), pool.pages); }, {"paged", "v", "1"}));
    EXPECT_TRUE(refuses([&] { KvView::paged(k.slice(0, 0), k.slice(0, 0), pool.pages); }, {"paged", "k", "0"}));
    KvView::Pages alike = pool.pages;
    alike.v_page_stride = 0, alike.layer_stride = 80;
    const KvView view = KvView::paged(k, k, alike);
    EXPECT_EQ(view.v.page_stride, 20);
    EXPECT_EQ(view.v.layer_stride, 80);
    alike.sequences = 0, alike.lengths = nullptr;
    EXPECT_EQ(KvView::paged(k, k, alike).sequences, 0);
}

TEST(KvViews, AnotherLayerNeedsALayerStride) {
    Pool pool;
    EXPECT_EQ(pool.view().at(0).k.data, pool.k.data());
    EXPECT_TRUE(refuses([&] { pool.view().at(1); }, {"at", "layer_stride", "k", "0", "1"}));
    EXPECT_TRUE(refuses([&] { pool.view().at(-1); }, {"at", "layer", "-1"}));
    pool.pages.layer_stride = 40, pool.pages.v_layer_stride = 24;
    EXPECT_EQ(pool.view().at(1).k.data, pool.k.data() + 40);
    EXPECT_EQ(pool.view().at(1).v.data, pool.v.data() + 24);
    EXPECT_TRUE(refuses([&] { pool.view().at(most); }, {"at", "layer"}));
    EXPECT_TRUE(refuses([&] { pool.view().at(-1); }, {"at", "layer", "-1"}));
    KvView view = pool.view();
    view.v.layer_stride = 0;
    EXPECT_TRUE(refuses([&] { view.at(1); }, {"at", "layer_stride", "v"}));
}

TEST(KvViews, KeysAndValuesHaveTheSameHeadsAndTokens) {
    float x[100];
    const auto k = attenta::hnd(x, 2, 5, 4);
    EXPECT_TRUE(refuses([&] { KvView::of(k, attenta::hnd(x, 2, 4, 4)); }, {"of", "v", "4", "k", "5"}));
    EXPECT_TRUE(refuses([&] { KvView::of(k, attenta::hnd(x, 1, 5, 4)); }, {"of", "v", "1", "k", "2"}));
}

TEST(KvViews, ARingHoldsItsFirstAndItsNewestTokens) {
    float x[7 * 4];
    const auto slots = attenta::nhd(x, 7, 1, 4);
    for (const std::int64_t sink : {0, 2, 6})
        for (std::int64_t tokens = 0; tokens < 40; ++tokens) {
            std::vector<std::int32_t> positions(7, -1), want(7, -1);
            for (std::int64_t t = 0; t < tokens; ++t)  // as the tokens come
                want[static_cast<std::size_t>(KvView::ring_slot(t, 7, sink))] = static_cast<std::int32_t>(t);
            const KvView ring = KvView::ring(slots, slots, {.sink = sink, .tokens = tokens, .positions = positions});
            EXPECT_EQ(positions, want) << "sink " << sink << ", tokens " << tokens;
            EXPECT_EQ(ring.length(0), std::min<std::int64_t>(tokens, 7));
            EXPECT_EQ(ring.positions_of(0), positions.data());
            for (std::int64_t t = 0; t < tokens; ++t)
                if (t < sink || t >= tokens - (7 - sink)) {
                    EXPECT_EQ(positions[static_cast<std::size_t>(KvView::ring_slot(t, 7, sink))], t);
                }
        }
}

TEST(KvViews, RingsRefuseWhatDoesNotFit) {
    float x[7 * 4];
    const auto slots = attenta::nhd(x, 7, 1, 4);
    std::vector<std::int32_t> positions(7, -1);
    const auto ring = [&](const KvView::Ring& r) { return [&, r] { KvView::ring(slots, slots, r); }; };
    EXPECT_TRUE(refuses(ring({.sink = 7, .tokens = 1, .positions = positions}), {"ring", "sink", "7"}));
    EXPECT_TRUE(refuses(ring({.sink = -1, .tokens = 1, .positions = positions}), {"ring", "sink", "-1"}));
    EXPECT_TRUE(refuses(ring({.tokens = -3, .positions = positions}), {"ring", "tokens", "-3"}));
    EXPECT_TRUE(refuses(ring({.tokens = most, .positions = positions}), {"ring", "tokens"}));
    EXPECT_TRUE(refuses(ring({.tokens = 1, .positions = std::span(positions).first(6)}), {"positions", "6", "7"}));
    EXPECT_TRUE(refuses([&] { KvView::ring(slots, slots.slice(0, 6), {.positions = positions}); }, {"ring", "v", "6"}));
    EXPECT_TRUE(refuses([&] { KvView::ring_slot(5, 4, 4); }, {"ring_slot", "sink", "4"}));
    EXPECT_TRUE(refuses([&] { KvView::ring_slot(-5, 4, 1); }, {"ring_slot", "token", "-5"}));
    EXPECT_EQ(positions, std::vector<std::int32_t>(7, -1));
}

TEST(LinearStateSizes, AreRefusedWhereTheirProductLeaves64Bits) {
    const std::int64_t large = std::int64_t{1} << 32;
    EXPECT_TRUE(refuses([&] { attenta::LinearState(large, large, 1); }, {"LinearState", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::LinearState(1, most / 4 + 1, 1); }, {"LinearState"}));
    EXPECT_TRUE(refuses([&] { attenta::LinearState(-1, 5, -5); }, {"LinearState", "-1"}));
    EXPECT_TRUE(attenta::LinearState(0, 5, 5).empty());
    std::vector<std::byte> saved(attenta::LinearState(1, 2, 3).saved_bytes());
    attenta::LinearState(1, 2, 3).save(saved);
    const auto refused = [&](std::array<std::int64_t, 6> sizes) {
        std::memcpy(saved.data(), sizes.data(), sizeof sizes);
        return refuses([&] { attenta::LinearState::load(saved); }, {"LinearState::load", "from"});
    };
    EXPECT_TRUE(refused({large, large, 6, 0, 0, 0}));
    EXPECT_TRUE(refused({1, 2, 3, most - 5, 6, 0}));
    EXPECT_TRUE(refused({1, 2, 3, std::int64_t{1} << 62, 0, 0}));
    EXPECT_TRUE(refused({-1, -2, 3, 0, 0, 0}));
    EXPECT_TRUE(refused({1, 2, 2, 1, 0, 0}));
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
    std::byte* const before = workspace.reserve(64);
    const std::size_t size = workspace.size();
    fails = true;
    EXPECT_THROW(workspace.reserve(std::size_t{8} << 20), std::bad_alloc);
    EXPECT_EQ(workspace.data(), before) << "other plans of the context live on it";
    EXPECT_EQ(workspace.size(), size);
    before[63] = std::byte{1};
    fails = false;
    workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
}

TEST(Workspaces, RefuseAnAllocatorThatGivesNullOrMisalignedMemory) {
    std::size_t off = 0, taken = 0, released = 0;
    bool null = false;
    const auto give = [&](std::size_t bytes) -> void* {
        if (null) return nullptr;
        ++taken;
        return static_cast<std::byte*>(::operator new (bytes + 64, std::align_val_t{64})) + off;
    };
    const auto take_back = [&](void* p, std::size_t) {
        ++released;
        const auto address = reinterpret_cast<std::uintptr_t>(p);
        ::operator delete (reinterpret_cast<void*>(address / 64 * 64), std::align_val_t{64});
    };
    {
        attenta::Workspace workspace({give, take_back});
        std::byte* const before = workspace.reserve(64);
        for (const bool is_null : {true, false}) {
            null = is_null, off = 32;
            EXPECT_TRUE(refuses([&] { workspace.reserve(std::size_t{8} << 20); }, {"Workspace::reserve", "8388608"}));
            EXPECT_EQ(workspace.data(), before);
            before[63] = std::byte{1};
        }
        off = 0;
        workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
    }
    EXPECT_EQ(taken, 3u);
    EXPECT_EQ(released, 3u);
}

TEST(Workspaces, RefuseMoreThanThereIs) {
    attenta::Workspace workspace;
    std::byte* const before = workspace.reserve(100);
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    for (const std::size_t bytes : {all, all - (std::size_t{1} << 20), all / 2, all / 2 - (std::size_t{1} << 22)})
        EXPECT_TRUE(refuses([&] { workspace.reserve(bytes); }, {"Workspace::reserve", std::to_string(bytes)}));
    EXPECT_EQ(workspace.data(), before);
    before[99] = std::byte{1};
}

/// An arena that is given back as a whole.
TEST(Workspaces, AnAllocatorMayHaveNoRelease) {
    alignas(64) static std::byte arena[std::size_t{2} << 20];
    attenta::Workspace workspace(
        {[](std::size_t bytes) -> void* { return bytes <= sizeof arena ? arena : nullptr; }, {}});
    EXPECT_EQ(workspace.reserve(1000), arena);
}

TEST(Isas, NamesAreReadBack) {
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        EXPECT_EQ(attenta::isa_named(attenta::name(isa)), isa);
    }
    EXPECT_FALSE(attenta::isa_named("mmx"));
    EXPECT_FALSE(attenta::isa_named(""));
}

TEST(Isas, NumbersOfNoneAreNotAvailable) {
    const auto isa = static_cast<attenta::Isa>(7);
    EXPECT_STREQ(attenta::name(isa), "unknown");
    EXPECT_FALSE(attenta::is_compiled(isa));
    EXPECT_FALSE(attenta::is_available(isa));
    EXPECT_TRUE(refuses([&] { attenta::set_isa(isa); }, {"set_isa", "unknown"}));
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
