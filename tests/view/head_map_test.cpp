// Tiles and numbers of a head equal their definitions, whatever pieces the weights come in.
#include "head_map.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "support/random.hpp"
#include "view/support/naive_head.hpp"

namespace {

using namespace view_test;
using view::Grid;
using view::Head;
using view::HeadMap;
using view::KeptPairs;

/// Multiples of 1/1024, whose sums are exact. Some are 0.
Weights some_weights(std::int64_t queries, std::int64_t keys) {
    attenta_test::Random random(static_cast<std::uint64_t>(queries * 1000 + keys));
    Weights w{queries, keys, {}};
    for (std::int64_t i = 0; i < queries * keys; ++i)
        w.a.push_back(random.chance(0.3) ? 0 : static_cast<double>(random.integer(1, 1000)) / 1024);
    return w;
}

/// Row after row, each in pieces of `piece` keys.
Head walk(HeadMap map, const Weights& w, std::int64_t piece) {
    std::vector<float> row(static_cast<std::size_t>(piece));
    for (std::int64_t i = 0; i < w.queries; ++i)
        for (std::int64_t first = 0; first < w.keys; first += piece) {
            const std::int64_t count = std::min(piece, w.keys - first);
            for (std::int64_t j = 0; j < count; ++j)
                row[static_cast<std::size_t>(j)] = static_cast<float>(w.at(i, first + j));
            map.add(i, first, {row.data(), static_cast<std::size_t>(count)});
        }
    return map.finish(3);
}

class Thirds final : public KeptPairs {
public:
    static bool keeps(std::int64_t head, std::int64_t query, std::int64_t key) {
        return (head + 2 * query + key) % 3 == 0;
    }
    void row(std::int64_t head, std::int64_t query, std::int64_t first, std::span<bool> kept) const override {
        for (std::size_t i = 0; i < kept.size(); ++i)
            kept[i] = keeps(head, query, first + static_cast<std::int64_t>(i));
    }
};

class All final : public KeptPairs {
public:
    void row(std::int64_t, std::int64_t, std::int64_t, std::span<bool> kept) const override {
        std::fill(kept.begin(), kept.end(), true);
    }
};

struct Shape {
    std::int64_t queries, keys, most, piece;
};
constexpr auto shapes = std::to_array<Shape>({{1, 1, 1, 1},
                                              {5, 7, 2, 3},
                                              {7, 5, 100, 2},
                                              {17, 700, 16, 700},
                                              {300, 3, 7, 1},
                                              {1, 513, 256, 64},
                                              {64, 64, 64, 64}});

TEST(HeadMapTest, TilesAndNumbersAreTheirDefinitions) {
    for (const Shape& s : shapes) {
        SCOPED_TRACE(testing::Message() << s.queries << " queries, " << s.keys << " keys");
        const Weights w = some_weights(s.queries, s.keys);
        const Grid grid = Grid::of(s.queries, s.keys, s.most);
        EXPECT_LE(grid.rows(), s.most);
        EXPECT_LE(grid.cols(), s.most);
        const Head head = walk(HeadMap(grid, 2, s.keys - s.queries, {}), w, s.piece);
        EXPECT_EQ(head.layer, 3);
        EXPECT_EQ(head.head, 2);
        expect_head(head, grid, s.keys - s.queries, w, 0);
    }
}

TEST(HeadMapTest, KeptSharesAndMassAreTheirDefinitions) {
    const Thirds thirds;
    const All all;
    const std::array<const KeptPairs*, 2> overlays = {&thirds, &all};
    for (const Shape& s : shapes) {
        SCOPED_TRACE(testing::Message() << s.queries << " queries, " << s.keys << " keys");
        const Weights w = some_weights(s.queries, s.keys);
        const Grid grid = Grid::of(s.queries, s.keys, s.most);
        const Head head = walk(HeadMap(grid, 1, 0, overlays), w, s.piece);
        ASSERT_EQ(head.kept.size(), 2u);

        const auto tiles = static_cast<std::size_t>(grid.tiles());
        std::vector<double> kept(tiles), weighing(tiles);
        double mass = 0, total = 0;
        for (std::int64_t i = 0; i < s.queries; ++i)
            for (std::int64_t j = 0; j < s.keys; ++j) {
                const auto tile = static_cast<std::size_t>(i / grid.tile_queries * grid.cols() + j / grid.tile_keys);
                const bool keeps = Thirds::keeps(1, i, j);
                weighing[tile] += w.at(i, j) > 0 ? 1 : 0;
                kept[tile] += keeps && w.at(i, j) > 0 ? 1 : 0;
                mass += keeps ? w.at(i, j) : 0;
                total += w.at(i, j);
            }
        for (std::size_t t = 0; t < tiles; ++t) {
            const int share = head.kept[0].tiles[t];
            EXPECT_EQ(share == 255, kept[t] == weighing[t]) << "tile " << t;
            if (kept[t] != weighing[t]) {
                EXPECT_EQ(share == 0, kept[t] == 0) << "tile " << t;
                EXPECT_NEAR(share, 255 * kept[t] / weighing[t], 1) << "tile " << t;
            }
            EXPECT_EQ(head.kept[1].tiles[t], 255) << "tile " << t;
        }
        EXPECT_EQ(head.kept[0].mass, mass / static_cast<double>(s.queries));
        EXPECT_EQ(head.kept[1].mass, total / static_cast<double>(s.queries));
    }
}

TEST(HeadMapTest, NanStaysInItsTile) {
    Weights w = some_weights(6, 6);
    w.a[static_cast<std::size_t>(2 * 6 + 5)] = std::numeric_limits<double>::quiet_NaN();
    const Grid grid = Grid::of(6, 6, 3);
    const Head head = walk(HeadMap(grid, 0, 0, {}), w, 6);
    for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t c = 0; c < 3; ++c) {
            const auto at = static_cast<std::size_t>(r * 3 + c);
            EXPECT_EQ(std::isnan(head.max[at]), r == 1 && c == 2);
            EXPECT_EQ(std::isnan(head.mean[at]), r == 1 && c == 2);
        }
    EXPECT_TRUE(std::isnan(head.entropy));
    EXPECT_FALSE(std::isnan(head.sink)) << "the first key receives numbers";
}

}  // namespace
