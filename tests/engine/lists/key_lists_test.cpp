// Lists of keys: how they are made, refused and printed.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::KeyLists, attenta::KeyRun;
using Ints = std::vector<std::int64_t>;
using Narrow = std::vector<std::int32_t>;

template <class Int>
std::span<const Int> span(const std::vector<Int>& x) {
    return x;
}

TEST(KeyLists, OfSingleKeysAreRunsInOrder) {
    const Ints indptr = {0, 4, 4, 6}, indices = {7, 2, 1, 3, 9, 0};
    const KeyLists lists = KeyLists::csr({.queries = 3, .keys = 10}, span(indptr), span(indices));
    EXPECT_EQ(lists.text(), "head 0, queries 0: 1-3 7\nhead 0, queries 1:\nhead 0, queries 2: 0 9\n");
    EXPECT_EQ(lists.lists(), 3);
    EXPECT_EQ(lists.size(), 6);
    EXPECT_EQ(lists.first_key(2), 4);
    EXPECT_DOUBLE_EQ(lists.density(), 6.0 / 30);
    const Narrow narrow_pointers = {0, 4, 4, 6}, narrow = {7, 2, 1, 3, 9, 0};
    EXPECT_EQ(KeyLists::csr({.queries = 3, .keys = 10}, span(narrow_pointers), span(narrow)).text(), lists.text());
}

TEST(KeyLists, BiasesFollowTheirKeys) {
    const Ints indptr = {0, 3}, indices = {7, 2, 5};
    const std::vector<float> bias = {70, 20, 50};
    EXPECT_EQ(KeyLists::csr({.queries = 1, .keys = 10}, span(indptr), span(indices), bias).bias,
              (std::vector<float>{20, 50, 70}));
}

TEST(KeyLists, TakeThePlaceOfOthers) {
    const Ints indptr = {0, 3}, indices = {7, 2, 5}, one = {0, 1}, block = {2};
    const std::vector<float> bias = {70, 20, 50};
    KeyLists lists;
    lists.assign_csr({.queries = 1, .keys = 10}, span(indptr), span(indices), bias);
    lists.assign_blocks({.queries = 1, .keys = 10, .unit = 4}, span(one), span(block));
    EXPECT_EQ(lists.text(), "head 0, queries 0: 8-9\n");
    EXPECT_EQ(lists.size(), 2);
    EXPECT_TRUE(lists.bias.empty());
}

TEST(KeyLists, ArePickedWithWhatTheirKeysBring) {
    const Ints indptr = {0, 2, 3, 4, 6}, indices = {1, 2, 5, 0, 8, 9};
    const std::vector<float> bias = {1, 2, 5, 0, 8, 9};
    KeyLists lists = KeyLists::csr({.heads = 2, .queries = 2, .keys = 10}, span(indptr), span(indices), bias);
    lists.value_gain = {10, 20, 50, 0, 80, 90};
    const KeyLists picked = lists.picked({.heads = 3, .queries = 1, .keys = 10},
                                         [](std::int64_t h, std::int64_t) { return h == 1 ? -1 : 3 - h; });
    EXPECT_EQ(picked.text(), "head 0, queries 0: 8-9\nhead 1, queries 0:\nhead 2, queries 0: 5\n");
    EXPECT_EQ(picked.bias, (std::vector<float>{8, 9, 5}));
    EXPECT_EQ(picked.value_gain, (std::vector<float>{80, 90, 50}));
    EXPECT_TRUE(picked.key_gain.empty());
}

TEST(KeyLists, OfBlocksEndWithTheKeys) {
    const Ints indptr = {0, 2, 3}, indices = {2, 0, 1};
    const KeyLists lists = KeyLists::blocks({.heads = 1, .queries = 7, .keys = 10, .query_block = 4, .unit = 4},
                                            span(indptr), span(indices));
    EXPECT_EQ(lists.text(), "head 0, queries 0-3: 0-3 8-9\nhead 0, queries 4-6: 4-7\n");
    EXPECT_DOUBLE_EQ(lists.density(), (4 * 6 + 3 * 4) / 70.0);
}

TEST(KeyLists, OfAMaskAreTheBlocksThatAreSeen) {
    const attenta::Mask mask = attenta::Causal{} && (attenta::Window{3, 0} || attenta::Global{1});
    EXPECT_EQ(KeyLists::of(mask, {.queries = 12, .keys = 12, .query_block = 4, .unit = 4}).text(),
              "head 0, queries 0-3: 0-3\nhead 0, queries 4-7: 0-7\nhead 0, queries 8-11: 0-11\n");
    EXPECT_EQ(KeyLists::of(attenta::Window{0, 0}, {.queries = 2, .keys = 9, .query_block = 1, .unit = 3}).text(),
              "head 0, queries 0: 6-8\nhead 0, queries 1: 6-8\n");
}

TEST(KeyLists, OfQueriesAStepApart) {
    const KeyLists::Shape shape{.queries = 7, .keys = 7, .query_step = 3};
    EXPECT_EQ(shape.rows(), 3);
    EXPECT_EQ(shape.queries_of(0), 3);
    EXPECT_EQ(shape.queries_of(2), 2);
    EXPECT_EQ(shape.query(1, 1), 4);
}

TEST(KeyLists, AreRefused) {
    const KeyLists::Shape shape{.queries = 2, .keys = 5};
    const auto csr = [&](const Ints& indptr, const Ints& indices, const std::vector<float>& bias = {}) {
        return [=] { KeyLists::csr(shape, span(indptr), span(indices), bias); };
    };
    EXPECT_NO_THROW(csr({0, 1, 2}, {4, 4})());
    EXPECT_TRUE(refuses(csr({0, 1}, {4}), {"KeyLists::csr", "indptr", "2", "3"}));
    EXPECT_TRUE(refuses(csr({1, 1, 1}, {4}), {"indptr", "1", "0"}));
    EXPECT_TRUE(refuses(csr({0, 1, 3}, {4, 3}), {"indptr", "3", "2"}));
    EXPECT_TRUE(refuses(csr({0, 2, 1}, {4}), {"indptr", "ascend"}));
    EXPECT_TRUE(refuses(csr({0, -5, 1}, {4}), {"indptr", "ascend"}));
    EXPECT_TRUE(refuses(csr({0, std::numeric_limits<std::int64_t>::max(), 1}, {4}), {"indptr", "ascend"}));
    EXPECT_TRUE(refuses(csr({0, 1, 2}, {5, 0}), {"indices", "5", "4"}));
    EXPECT_TRUE(refuses(csr({0, 1, 2}, {0, -1}), {"indices", "-1"}));
    EXPECT_TRUE(refuses(csr({0, 2, 2}, {3, 3}), {"list", "3", "twice"}));
    EXPECT_TRUE(refuses(csr({0, 6, 6}, {0, 1, 2, 3, 4, 0}), {"list 0", "6 indices", "5"}));
    EXPECT_TRUE(refuses(csr({0, 1, 2}, {3, 3}, {1}), {"bias", "1", "2"}));
    EXPECT_TRUE(refuses([] { KeyLists({.heads = 0}); }, {"heads", "0"}));
    EXPECT_TRUE(refuses([] { KeyLists({.query_block = 0}); }, {"query_block", "0"}));
    EXPECT_TRUE(refuses([] { KeyLists({.unit = 0}); }, {"unit", "0"}));
    EXPECT_TRUE(refuses([] { KeyLists({.queries = -1}); }, {"queries", "-1"}));
    EXPECT_TRUE(refuses([] { KeyLists({.keys = std::int64_t{1} << 31}); }, {"keys", "2147483648"}));
    KeyLists lists(shape);
    lists.add(1, 2);
    EXPECT_TRUE(refuses([&] { lists.add(2, 1); }, {"KeyLists::add", "2", "3"}));
    EXPECT_TRUE(refuses([&] { lists.add(4, 2); }, {"KeyLists::add", "5"}));
    EXPECT_TRUE(refuses([&] { lists.add(4, -1); }, {"KeyLists::add", "-1"}));
    lists.end_list();
    EXPECT_NO_THROW(lists.add(0, 1));
}

}  // namespace
}  // namespace attenta_test
