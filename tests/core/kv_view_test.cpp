// Views of caches.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

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

}  // namespace
}  // namespace attenta_test
