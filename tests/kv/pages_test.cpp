// A pool of pages: sharing, copies on write, what is given back.
#include <attenta/kv/pages.hpp>
#include <attenta/softmax/softmax.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "support/errors.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Heads, attenta::hnd, attenta::KvStorage, attenta::KvView, attenta::PagePool;

constexpr std::int64_t Hkv = 2, D = 12, Dv = 8;

struct Token {
    std::vector<float> k, v;
    Token(Random& random) : k(random.normals(Hkv * D)), v(random.normals(Hkv * Dv)) {}
    Heads<const float> keys() const { return hnd(k.data(), Hkv, 1, D); }
    Heads<const float> values() const { return hnd(v.data(), Hkv, 1, Dv); }
};

PagePool pool_of(std::int64_t page, std::int64_t pages, const KvStorage& storage = attenta::Dtype::f32) {
    return PagePool({.kv_heads = Hkv, .dim = D, .dim_v = Dv, .page_size = page, .pages = pages, .storage = storage});
}

/// Attention of one query over the tokens of a sequence.
std::vector<float> over(const std::vector<Token>& tokens, const std::vector<float>& q) {
    std::vector<float> k, v;
    for (std::int64_t h = 0; h < Hkv; ++h)
        for (const Token& t : tokens) {
            k.insert(k.end(), t.k.begin() + h * D, t.k.begin() + (h + 1) * D);
            v.insert(v.end(), t.v.begin() + h * Dv, t.v.begin() + (h + 1) * Dv);
        }
    const auto n = static_cast<std::int64_t>(tokens.size());
    std::vector<float> o(4 * Dv);
    attenta::softmax_attention(hnd(q.data(), 4, 1, D), hnd<const float>(k.data(), Hkv, n, D),
                               hnd<const float>(v.data(), Hkv, n, Dv), hnd(o.data(), 4, 1, Dv));
    return o;
}

/// A history of random operations against sequences that are plain copies.
TEST(PagePool, SequencesAreWhatWasAppendedToThem) {
    for (const std::int64_t page : {1, 3, 16}) {
        Random random(page);
        PagePool pool = pool_of(page, 400);
        std::map<std::int64_t, std::vector<Token>> want;
        std::int64_t next = 0;
        for (int step = 0; step < 300; ++step) {
            std::vector<std::int64_t> names;
            for (const auto& [name, tokens] : want) names.push_back(name);
            const double kind = random.uniform();
            if (names.empty() || kind < 0.1) {
                Token t(random);
                pool.append(next, t.keys(), t.values());
                want[next++].push_back(t);
            } else if (kind < 0.25 && names.size() < 8) {
                const std::int64_t from = random.pick(names), cut = random.integer(0, pool.length(from));
                pool.fork(next, from, cut);
                want.emplace(next++, std::vector<Token>(want.at(from).begin(), want.at(from).begin() + cut));
            } else if (kind < 0.3) {
                const std::int64_t name = random.pick(names);
                pool.free(name);
                want.erase(name);
            } else if (kind < 0.35) {
                const std::int64_t name = random.pick(names), cut = random.integer(0, pool.length(name));
                pool.truncate(name, cut);
                want.at(name).erase(want.at(name).begin() + cut, want.at(name).end());
            } else {
                const std::int64_t name = random.pick(names);
                Token t(random);
                pool.append(name, t.keys(), t.values());
                want.at(name).push_back(t);
            }
            if (step % 10 != 0) continue;
            for (const auto& [name, tokens] : want) {
                ASSERT_EQ(pool.length(name), std::ssize(tokens));
                if (tokens.empty()) continue;
                const std::vector<float> q = random.normals(4 * D);
                std::vector<float> o(4 * Dv);
                attenta::softmax_attention(hnd(q.data(), 4, 1, D), pool.view({&name, 1}), hnd(o.data(), 4, 1, Dv));
                ASSERT_EQ(o, over(tokens, q)) << "sequence " << name << " step " << step;
            }
        }
        for (const auto& [name, tokens] : want) pool.free(name);
        EXPECT_EQ(pool.pages_used(), 0);
    }
}

TEST(PagePool, LayersHaveTheirOwnRows) {
    Random random(2);
    PagePool pool({.layers = 2,
                   .kv_heads = Hkv,
                   .dim = D,
                   .dim_v = Dv,
                   .page_size = 4,
                   .pages = 8,
                   .storage = KvStorage::int8()});
    const Token a(random), b(random), c(random);
    pool.extend(7, 1);
    pool.write(7, 0, a.keys(), a.values());
    pool.write(7, 1, b.keys(), b.values());
    pool.fork(8, 7);
    pool.extend(8, 1);
    pool.write(8, 0, c.keys(), c.values());
    pool.write(8, 1, c.keys(), c.values());
    EXPECT_EQ(pool.pages_used(), 2);  // the shared page was copied
    const std::int64_t name = 7;
    const KvView kv = pool.view({&name, 1});
    for (const auto& [layer, want] : {std::pair{0, &a}, std::pair{1, &b}}) {
        const std::vector<float> q = random.normals(4 * D);
        std::vector<float> o(4 * Dv);
        attenta::softmax_attention(hnd(q.data(), 4, 1, D), kv.at(layer), hnd(o.data(), 4, 1, Dv));
        for (std::size_t i = 0; i < o.size(); ++i)
            EXPECT_NEAR(o[i], want->v[i / (2 * Dv) * Dv + i % Dv], 0.03);  // one key: its value
    }
}

TEST(PagePool, RefusesWhatDoesNotFitAndStaysAsItWas) {
    Random random(3);
    PagePool pool = pool_of(2, 2);
    const Token t(random);
    for (int i = 0; i < 4; ++i) pool.append(1, t.keys(), t.values());
    EXPECT_TRUE(refuses([&] { pool.append(1, t.keys(), t.values()); }, {"PagePool::extend", "1", "0"}));
    EXPECT_TRUE(refuses([&] { pool.append(5, t.keys(), t.values()); }, {"PagePool::extend", "1", "0"}));
    EXPECT_FALSE(pool.has(5));
    EXPECT_EQ(pool.length(1), 4);
    EXPECT_TRUE(refuses([&] { pool.fork(1, 1); }, {"PagePool::fork", "1"}));
    EXPECT_TRUE(refuses([&] { pool.fork(2, 9); }, {"PagePool::fork", "9"}));
    EXPECT_TRUE(refuses([&] { pool.fork(2, 1, 5); }, {"PagePool::fork", "5", "4"}));
    EXPECT_TRUE(refuses([&] { pool.free(3); }, {"PagePool::free", "3"}));
    EXPECT_TRUE(refuses([&] { pool.extend(1, 0); }, {"PagePool::extend", "0"}));
    EXPECT_TRUE(refuses([&] { pool.write(1, 1, t.keys(), t.values()); }, {"PagePool::write", "layer", "1", "0"}));
    EXPECT_TRUE(refuses([&] { pool.append(1, t.values(), t.values()); }, {"PagePool::append", "k", "8", "12"}));
    pool.fork(2, 1);
    EXPECT_TRUE(refuses([&] { pool.write(2, 0, t.keys(), t.values()); }, {"PagePool::write", "no other"}));
    EXPECT_TRUE(refuses([&] { pool_of(0, 2); }, {"PagePool", "page_size", "0"}));
    EXPECT_TRUE(refuses([&] { pool_of(2, 2, KvStorage::kivi()); }, {"PagePool", "storage"}));
    EXPECT_TRUE(refuses([&] { pool_of(2, 2, KvStorage::int4()); }, {"PagePool", "storage"}));
}

}  // namespace
}  // namespace attenta_test
