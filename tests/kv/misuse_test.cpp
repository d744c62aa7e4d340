// What a caller gets wrong around caches is refused, or does what it says.
#include <attenta/kv.hpp>
#include <attenta/softmax/softmax.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::hnd, attenta::KvCache, attenta::KvFormat, attenta::KvStorage;

const EvictionSizes sizes{50, 40, 4, 2, 16, 8};

KvCache filled(std::int64_t tokens, const KvStorage& storage = attenta::Dtype::f32) {
    KvCache cache({.kv_heads = 1, .dim = 4, .capacity = 64, .storage = storage});
    const std::vector<float> x = Random(1).normals(tokens * 4);
    cache.append(0, hnd(x.data(), 1, tokens, 4), hnd(x.data(), 1, tokens, 4));
    return cache;
}

/// The slots of the oldest tokens, as the cache itself lists them.
TEST(KvMisuse, TheCachesOwnListOfSlotsMayBeEvicted) {
    KvCache cache = filled(20);
    cache.track_positions(0);
    for (std::int32_t gone = 0; gone < 18; gone += 3) {
        cache.evict(0, 0, cache.slots(0, 0).first(3));
        ASSERT_EQ(cache.size(0, 0), 17 - gone);
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(17 - gone); ++rank)
            ASSERT_EQ(cache.positions(0, 0)[static_cast<std::size_t>(cache.slots(0, 0)[rank])],
                      gone + 3 + static_cast<std::int32_t>(rank));
    }
}

TEST(KvMisuse, ACacheThatWasMovedFromMayBeCopied) {
    KvCache cache = filled(5);
    const KvCache taken = std::move(cache);
    const KvCache copy = cache;  // NOLINT: that is the question
    EXPECT_EQ(taken.size(0), 5);
}

TEST(KvMisuse, NumbersThatOverflowOnTheWayAreRefused) {
    const auto append = [](float x, const KvFormat& format) {
        KvCache cache({.kv_heads = 1, .dim = 4, .capacity = 4, .storage = KvStorage(format, format)});
        const std::vector<float> row(4, x);
        cache.append(0, hnd(row.data(), 1, 1, 4), hnd(row.data(), 1, 1, 4));
    };
    KvFormat half_scales = KvFormat::codes(8, false), turned_f16 = attenta::Dtype::f16, turned_f32;
    half_scales.half_scales = true;
    turned_f16.rotation = turned_f32.rotation = 4;
    EXPECT_TRUE(refuses([&] { append(1e5f, half_scales); }, {"KvCache::append", "k"}));
    EXPECT_TRUE(refuses([&] { append(6e4f, turned_f16); }, {"KvCache::append", "k", "f16"}));
    EXPECT_TRUE(refuses([&] { append(3e38f, turned_f32); }, {"KvCache::append", "k", "f32"}));
    append(6e4f, half_scales);
    append(3e4f, turned_f16);
    append(1e38f, turned_f32);
}

TEST(KvMisuse, SeveralViewsNeedPositions) {
    const KvCache a = filled(10), b = filled(10);
    const std::vector<float> q = Random(2).normals(8);
    std::vector<float> o(8);
    const attenta::KvView views[] = {a.view(0), b.view(0)};
    EXPECT_TRUE(refuses([&] { attenta::softmax_attention(hnd(q.data(), 1, 2, 4), views, hnd(o.data(), 1, 2, 4)); },
                        {"softmax_attention", "positions", "2"}));
}

TEST(KvMisuse, AttendTakesTheOffsetsOfABatch) {
    KvCache cache = filled(10);
    cache.evict(0, 0, std::vector<std::int32_t>{3});
    const std::vector<float> q = Random(2).normals(4);
    std::vector<float> got(4), want(4);
    const std::vector<std::int64_t> offsets{5};
    attenta::SoftmaxOptions options;
    options.causal = true;
    options.q_offsets = offsets;
    cache.attend(0, hnd(q.data(), 1, 1, 4), hnd(got.data(), 1, 1, 4), options);
    attenta::softmax_attention(hnd(q.data(), 1, 1, 4), cache.view(0), hnd(want.data(), 1, 1, 4), options);
    EXPECT_EQ(got, want);
}

TEST(KvMisuse, RotatedQueriesAreCheckedBeforeTheyAreRead) {
    const KvCache cache = filled(5, KvStorage::rotated(4, 4, 4));
    std::vector<float> q(4), o(4);
    EXPECT_TRUE(
        refuses([&] { cache.attend(0, hnd(q.data(), std::int64_t{1} << 60, 1, 4), hnd(o.data(), 1, 1, 4)); }, {}));
    EXPECT_TRUE(refuses([&] { cache.attend(0, hnd(q.data(), 1, 1, 4), hnd(q.data(), 1, 1, 4)); }, {"o", "q"}));
}

TEST(KvMisuse, AnEvictorNoticesThatItsLayerHasChanged) {
    const EvictionCase x(sizes, 1);
    attenta::H2o policy({.budget = 12});
    KvCache cache({.kv_heads = 2, .dim = 16, .dim_v = 8, .capacity = 50});
    attenta::Evictor evictor(cache, policy, {.query_heads = 4});
    std::vector<float> o(4 * 8);
    evictor.prompt(x.queries().slice(0, 40), x.keys().slice(0, 40), x.values().slice(0, 40), {});
    cache.truncate(30);
    EXPECT_TRUE(refuses(
        [&] {
            evictor.step(x.queries().slice(40, 1), x.keys().slice(40, 1), x.values().slice(40, 1),
                         attenta::nhd(o.data(), 1, 4, 8));
        },
        {"Evictor::step", "30", "40"}));
}

TEST(KvMisuse, SideInputsThatAreTooShortAreRefusedBeforeAnythingIsWritten) {
    const EvictionCase x(sizes, 1);
    const std::vector<float> few = Random(3).normals(2 * 4);
    attenta::RandomEviction random(hnd(few.data(), 2, 4, 1), {.budget = 3});
    const std::vector<std::uint8_t> flags(4);
    attenta::Fastgen fastgen({}, flags, flags);
    attenta::PromptOnly wrapped(fastgen);
    for (attenta::EvictionPolicy* policy :
         {static_cast<attenta::EvictionPolicy*>(&random), static_cast<attenta::EvictionPolicy*>(&wrapped)}) {
        KvCache cache({.kv_heads = 2, .dim = 16, .dim_v = 8, .capacity = 50});
        attenta::Evictor evictor(cache, *policy, {.query_heads = 4});
        EXPECT_TRUE(refuses(
            [&] { evictor.prompt(x.queries().slice(0, 40), x.keys().slice(0, 40), x.values().slice(0, 40), {}); },
            {"4"}));
        EXPECT_EQ(cache.seen(0), 0);
    }
}

TEST(KvMisuse, SizesThatNoMemoryHoldsAreRefused) {
    constexpr std::int64_t huge = std::int64_t{1} << 61;
    KvCache cache({.kv_heads = 2, .dim = 16, .capacity = 50});
    attenta::SnapkvOptions options;
    options.window = huge, options.budget = 2 * huge - 1, options.decode = attenta::SnapkvDecode::evict;
    attenta::Snapkv snapkv(options);
    attenta::Streaming streaming({.budget = 8});
    EXPECT_TRUE(refuses([&] { attenta::Evictor(cache, snapkv, {.query_heads = 4}); }, {"Evictor", "window"}));
    EXPECT_TRUE(
        refuses([&] { attenta::Evictor(cache, streaming, {.query_heads = huge}); }, {"Evictor", "query_heads"}));
}

/// Heads that hold different numbers of tokens, with a policy that computes something of all of them.
TEST(KvMisuse, BudgetsOfHeadsAreThoseOfThePolicyAlone) {
    const EvictionCase x(sizes, 4);
    attenta::Keydiff inner({.budget = 4});
    const std::vector<std::int64_t> budgets{5, 30};
    attenta::HeadBudgets wrapped(inner, budgets);
    attenta::Context context;
    const EvictionResult r = run_policy(x, wrapped, context);
    for (const std::size_t head : {std::size_t{0}, std::size_t{1}}) {
        attenta::Keydiff alone({.budget = budgets[head]});
        EXPECT_EQ(r.kept[head], run_policy(x, alone, context).kept[head]);
    }
}

}  // namespace
}  // namespace attenta_test
