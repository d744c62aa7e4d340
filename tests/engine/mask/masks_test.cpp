// Masks against their meaning, pair by pair: bits are exact, none and all are true claims, hulls leave nothing out.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Causal;
using attenta::Cover;
using attenta::Global;
using attenta::Interval;
using attenta::KeyBlock;
using attenta::Mask;
using attenta::QueryRow;
using attenta::Window;

constexpr std::int64_t heads = 3, queries = 120, keys = 400;
constexpr std::int64_t least = attenta::saturating::least, most = attenta::saturating::most;

/// What the leaves borrow.
struct World {
    Random random{11};
    std::vector<std::int64_t> documents_q, documents_k;
    std::unique_ptr<bool[]> visible = std::make_unique<bool[]>(heads * queries * keys);
    std::vector<Mask> of_sequences = {Global{0}, Causal{} || Global{30}};  // the tiles are of sequence 1

    World() {
        for (std::int64_t i = 0; i < queries; ++i) documents_q.push_back(i / 50);
        for (std::int64_t j = 0; j < keys; ++j) documents_k.push_back(j / 90);
        for (std::size_t i = 0; i < heads * queries * keys; ++i) visible[i] = random.chance(0.5);
    }
    attenta::Documents documents() const { return {documents_q, documents_k}; }
    attenta::BoolMask bools() const { return {{visible.get(), heads, queries, keys}}; }
    attenta::BoolMask row_of_bools() const { return {{visible.get(), heads, 1, keys, 0, 7 * keys}}; }
    attenta::BoolMask short_bools() const { return {{visible.get(), 1, queries, 170, 2 * keys, 0}}; }
};

/// A mask of one's own: two stripes by position.
struct Stripes {
    std::int64_t width;
    attenta::Spans spans(const QueryRow& r) const {
        return {{r.position - 3 * width, r.position - 2 * width}, {r.position - width, r.position}};
    }
};

/// Another: even positions, without a word on tiles.
struct Even {
    void bits(const QueryRow&, const KeyBlock& block, std::uint64_t* words) const {
        for (std::int64_t i = 0; i < block.count; ++i)
            if (block.position(i) % 2 != 0) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
    }
};

/// Does the row see key number `key` at position `j`?
using Meaning = std::function<bool(const QueryRow& row, std::int64_t key, std::int64_t j)>;

struct Named {
    std::string name;
    Mask mask;
    Meaning meaning;
};

std::vector<Named> masks(const World& w) {
    const Meaning all = [](const QueryRow&, std::int64_t, std::int64_t) { return true; };
    const Meaning none = [](const QueryRow&, std::int64_t, std::int64_t) { return false; };
    const Meaning causal = [](const QueryRow& r, std::int64_t, std::int64_t j) { return j <= r.position; };
    const Meaning global = [](const QueryRow&, std::int64_t, std::int64_t j) { return j < 30; };
    const Meaning left = [](const QueryRow& r, std::int64_t, std::int64_t j) { return j >= r.position - 70; };
    const Meaning around = [](const QueryRow& r, std::int64_t, std::int64_t j) {
        return j >= r.position - 5 && j <= r.position + 9;
    };
    const Meaning document = [&w](const QueryRow& r, std::int64_t key, std::int64_t) {
        return w.documents_q.data()[r.index] == w.documents_k.data()[key];
    };
    const Meaning boolean = [&w](const QueryRow& r, std::int64_t key, std::int64_t) {
        return w.visible[static_cast<std::size_t>((r.head * queries + r.index) * keys + key)];
    };
    const Meaning row_of_bools = [&w](const QueryRow& r, std::int64_t key, std::int64_t) {
        return w.visible[static_cast<std::size_t>(r.head * 7 * keys + key)];
    };
    const Meaning short_bools = [&w](const QueryRow& r, std::int64_t key, std::int64_t) {
        return key < 170 && w.visible[static_cast<std::size_t>(r.index * 2 * keys + key)];
    };
    const Meaning stripes = [](const QueryRow& r, std::int64_t, std::int64_t j) {
        return (j >= r.position - 60 && j < r.position - 40) || (j >= r.position - 20 && j < r.position);
    };
    const Meaning even = [](const QueryRow&, std::int64_t, std::int64_t j) { return j % 2 == 0; };
    const auto both = [](Meaning a, Meaning b) -> Meaning {
        return [a, b](const QueryRow& r, std::int64_t key, std::int64_t j) { return a(r, key, j) && b(r, key, j); };
    };
    const auto either = [](Meaning a, Meaning b) -> Meaning {
        return [a, b](const QueryRow& r, std::int64_t key, std::int64_t j) { return a(r, key, j) || b(r, key, j); };
    };
    return {
        {"everything", Mask{}, all},
        {"unlimited window", Window{}, all},
        {"widest window", Window{most, most}, all},
        {"window right, widest", Window{-1, most}, all},
        {"causal, everything a prefix", attenta::Visibility{true, most, {most, most}}, all},
        {"causal", Causal{}, causal},
        {"window left", Window{70, -1}, left},
        {"window around", Window{5, 9}, around},
        {"global", Global{30}, global},
        {"global of none", Global{0}, none},
        {"global of less", Global{least}, none},
        {"documents", w.documents(), document},
        {"no documents", attenta::Documents{}, all},
        {"bools", w.bools(), boolean},
        {"no bools", attenta::BoolMask{}, all},
        {"a row of bools", w.row_of_bools(), row_of_bools},
        {"short bools", w.short_bools(), short_bools},
        {"short bools || around", w.short_bools() || Window{5, 9}, either(short_bools, around)},
        {"per sequence", attenta::PerSequence<Mask>{w.of_sequences.data()}, either(causal, global)},
        {"per sequence && bools", attenta::PerSequence<Mask>{w.of_sequences.data()} && w.bools(),
         both(either(causal, global), boolean)},
        {"stripes", Stripes{20}, stripes},
        {"even", Even{}, even},
        {"causal && window", Causal{} && Window{70, -1}, both(causal, left)},
        {"causal && window || global", (Causal{} && Window{70, -1}) || Global{30}, either(both(causal, left), global)},
        {"documents && causal", w.documents() && Causal{}, both(document, causal)},
        {"documents || global", w.documents() || Global{30}, either(document, global)},
        {"(around || global) && bools", (Window{5, 9} || Global{30}) && w.bools(),
         both(either(around, global), boolean)},
        {"stripes || around", Stripes{20} || Window{5, 9}, either(stripes, around)},
        {"even && causal || stripes", (Even{} && Causal{}) || Stripes{20}, either(both(even, causal), stripes)},
        {"around && global", Window{5, 9} && Global{30}, both(around, global)},
        {"causal || documents && even", Causal{} || (w.documents() && Even{}), either(causal, both(document, even))},
    };
}

/// A tile: rows of some heads from index `first` to `last`, and a block of keys.
struct Tile {
    std::vector<QueryRow> rows;
    KeyBlock block;

    QueryRow first() const { return rows.front(); }
    QueryRow last() const { return rows.back(); }
};

Tile random_tile(Random& random, const std::vector<std::int32_t>& positions) {
    const std::int64_t from = random.integer(0, queries - 1), to = std::min(queries - 1, from + random.integer(0, 40));
    const std::int64_t offset = random.pick<std::int64_t>({-60, -7, 0, 100, 280, 450});
    Tile tile;
    for (std::int64_t i = from; i <= to; ++i)
        for (int h = 0; h < heads; ++h) tile.rows.push_back({h, i, i + offset, 1});
    const std::int64_t begin = random.integer(0, keys - 1);
    tile.block = {begin, random.integer(1, std::min<std::int64_t>(200, keys - begin)), nullptr};
    if (random.chance(0.4)) tile.block.positions = positions.data() + begin;
    return tile;
}

std::string describe(const Named& m, const Tile& t) {
    return m.name + ": positions " + std::to_string(t.first().position) + " to " + std::to_string(t.last().position) +
           ", keys from " + std::to_string(t.block.begin) + ", " + std::to_string(t.block.count) +
           (t.block.positions ? " permuted" : "");
}

/// Of a mask on a tile: every bit, then what follows for the tile.
void expect_meaning(const Named& m, const Tile& tile, Random& random) {
    std::int64_t seen = 0;
    const Interval hull = m.mask.hull(tile.first(), tile.last());
    for (const QueryRow& row : tile.rows) {
        std::uint64_t words[4], before[4];
        for (int w = 0; w < 4; ++w) words[w] = before[w] = random.bits() | random.bits();
        m.mask.bits(row, tile.block, words);
        for (std::int64_t i = 0; i < tile.block.count; ++i) {
            const std::int64_t j = tile.block.position(i);
            const bool sees = m.meaning(row, tile.block.begin + i, j);
            const auto bit = [i](const std::uint64_t* w) { return (w[i / 64] >> (i % 64) & 1) != 0; };
            ASSERT_EQ(bit(words), sees && bit(before))
                << describe(m, tile) << ", head " << row.head << " position " << row.position << " key " << j;
            ASSERT_TRUE(!sees || (j >= hull.begin && j < hull.end))
                << describe(m, tile) << ", key " << j << " outside the hull";
            seen += sees;
        }
    }
    const Cover cover = m.mask.classify(tile.first(), tile.last(), tile.block);
    const std::int64_t pairs = static_cast<std::int64_t>(tile.rows.size()) * tile.block.count;
    ASSERT_TRUE(cover != Cover::none || seen == 0) << describe(m, tile) << ", " << seen << " pairs are visible";
    ASSERT_TRUE(cover != Cover::all || seen == pairs) << describe(m, tile) << ", " << pairs - seen << " pairs are not";
}

TEST(Masks, MeanWhatTheySayOnRandomTiles) {
    const World world;
    Random random(5);
    const std::vector<std::int32_t> positions = random.permutation(keys);
    for (const Named& mask : masks(world))
        for (int i = 0; i < 150 && !testing::Test::HasFailure(); ++i)
            expect_meaning(mask, random_tile(random, positions), random);
}

Cover cover(const Mask& mask, std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin,
            std::int64_t key_count) {
    return mask.classify({0, row_begin, row_begin}, {0, row_end - 1, row_end - 1}, {key_begin, key_count, nullptr});
}

/// Without these claims nothing is skipped.
TEST(Masks, ClaimEmptyAndFullTilesWhereTheyCan) {
    EXPECT_EQ(cover(Causal{}, 0, 64, 64, 64), Cover::none);
    EXPECT_EQ(cover(Causal{}, 63, 100, 0, 64), Cover::all);
    EXPECT_EQ(cover(Causal{}, 62, 100, 0, 64), Cover::some);
    EXPECT_EQ(cover(Window{10, -1}, 100, 120, 0, 90), Cover::none);
    EXPECT_EQ(cover(Window{10, 10}, 100, 105, 94, 17), Cover::all);
    EXPECT_EQ(cover(Global{4}, 0, 9, 4, 60), Cover::none);
    EXPECT_EQ(cover(Global{4}, 0, 9, 0, 4), Cover::all);
    EXPECT_EQ(cover(Causal{} && Window{10, -1}, 100, 120, 0, 90), Cover::none);
    EXPECT_EQ(cover((Causal{} && Window{10, -1}) || Global{90}, 100, 120, 0, 90), Cover::all);
    EXPECT_EQ(cover(Mask{}, 0, 9, 0, 9), Cover::all);
}

TEST(Masks, ClaimDocumentsApart) {
    const World world;
    EXPECT_EQ(cover(world.documents(), 0, 50, 90, 90), Cover::none);
    EXPECT_EQ(cover(world.documents(), 0, 50, 0, 90), Cover::all);
    EXPECT_EQ(cover(world.documents(), 0, 51, 0, 90), Cover::some);
}

TEST(Masks, HullsAreTightForWindowsAndPrefixes) {
    const QueryRow first{0, 100, 100}, last{0, 119, 119};
    const Interval window = Mask(Causal{} && Window{10, -1}).hull(first, last);
    EXPECT_EQ(window.begin, 90);
    EXPECT_EQ(window.end, 120);
    const Interval with_global = Mask((Causal{} && Window{10, -1}) || Global{4}).hull(first, last);
    EXPECT_EQ(with_global.begin, 0);
    EXPECT_EQ(with_global.end, 120);
}

TEST(Masks, ReachAsFarAsPositionsDo) {
    const std::int64_t far = std::int64_t{1} << 62;
    const KeyBlock block{0, 64, nullptr};
    for (const std::int64_t position : {least, least + 1, -far, std::int64_t{-1}, std::int64_t{0}, far, most - 1, most})
        for (const std::int64_t left : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{5}, far, most})
            for (const std::int64_t right : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{5}, far, most})
                for (const std::int64_t prefix : {std::int64_t{0}, far, most}) {
                    const QueryRow row{0, 0, position};
                    // 64 bits of mantissa hold these sums.
                    const auto at = static_cast<long double>(position);
                    const auto in_window = [&](std::int64_t j) {
                        return (left < 0 || static_cast<long double>(j) >= at - static_cast<long double>(left)) &&
                               (right < 0 || static_cast<long double>(j) <= at + static_cast<long double>(right));
                    };
                    const auto expect = [&](const Mask& mask, auto&& sees) {
                        std::uint64_t bits = ~std::uint64_t{0};
                        mask.bits(row, block, &bits);
                        const Interval hull = mask.hull(row, row);
                        std::int64_t seen = 0;
                        for (std::int64_t j = 0; j < 64; ++j) {
                            EXPECT_EQ((bits >> j & 1) != 0, sees(j)) << position << " " << left << " " << right;
                            EXPECT_TRUE(!sees(j) || (j >= hull.begin && j < hull.end));
                            seen += sees(j);
                        }
                        const Cover cover = mask.classify(row, row, block);
                        EXPECT_TRUE(cover != Cover::all || seen == 64) << position << " " << left << " " << right;
                        EXPECT_TRUE(cover != Cover::none || seen == 0) << position << " " << left << " " << right;
                    };
                    expect(Window{left, right}, in_window);
                    expect(Window{left, right} || Global{0}, in_window);
                    expect(attenta::Visibility{true, prefix, {left, right}},
                           [&](std::int64_t j) { return in_window(j) && (j <= position || j < prefix); });
                }
}

TEST(Saturating, SumsAndProductsStopAtTheEndsOfTheirType) {
    using namespace attenta::saturating;
    EXPECT_EQ(add(3, -5), -2);
    EXPECT_EQ(add(most, 1), most);
    EXPECT_EQ(add(most, least), -1);
    EXPECT_EQ(add(least, -1), least);
    EXPECT_EQ(add(least, least), least);
    EXPECT_EQ(multiply(6, 7), 42);
    EXPECT_EQ(multiply(most, 1), most);
    EXPECT_EQ(multiply(most / 2, 3), most);
    EXPECT_EQ(multiply(std::int64_t{1} << 62, std::int64_t{1} << 62), most);
    EXPECT_EQ(multiply(most, 0), 0);
    EXPECT_EQ(multiply(-3, 5), 0);
}

}  // namespace
}  // namespace attenta_test
