// Storage of a cache: what is read back is what was appended, rounded as the format says, and attention reads just that.
#include <attenta/kv/cache.hpp>
#include <attenta/kv/row_codec.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Dtype, attenta::Heads, attenta::KvCache, attenta::KvFormat, attenta::KvStorage, attenta::KvView,
    attenta::hnd;

struct Named {
    const char* name;
    KvStorage storage;
};

/// Formats whose tokens all have rows of their own.
std::vector<Named> plain_formats() {
    return {{"f32", Dtype::f32},
            {"f16", Dtype::f16},
            {"int8", KvStorage::int8()},
            {"int4", KvStorage::rotated(4, 4, 8)},
            {"k8v4", KvStorage::rotated(8, 4, {})},
            {"2 bits, odd groups", {KvFormat::codes(2, false, 3), KvFormat::codes(2, false, 5)}},
            {"4 bits signed", {KvFormat::codes(4, true), KvFormat::codes(4, true, 10)}},
            {"keys alone", {KvFormat::codes(8, true), Dtype::f32}},
            {"values alone", {Dtype::bf16, KvFormat::codes(4, false)}}};
}
/// And those with floats beside codes.
std::vector<Named> mixed_formats() {
    return {{"kivi", KvStorage::kivi(4, 5, 10)},
            {"kivi 2", KvStorage::kivi(2, 10, 20)},
            {"sink and recent", KvStorage::rotated(8, 4, 8, 3, 11)},
            {"recent", KvStorage::rotated(4, 8, {}, 0, 4)},
            {"sink", KvStorage::rotated(8, 8, {}, 4, 0)}};
}

constexpr std::int64_t Hkv = 2, D = 24, Dv = 40;

struct Rows {
    std::vector<float> k, v;
    std::int64_t tokens;

    Rows(std::int64_t n, std::uint64_t seed) : tokens(n) {
        Random random(seed);
        k = random.normals(Hkv * n * D);
        v = random.normals(Hkv * n * Dv);
    }
    Heads<const float> keys() const { return hnd(k.data(), Hkv, tokens, D); }
    Heads<const float> values() const { return hnd(v.data(), Hkv, tokens, Dv); }
};

KvCache cache_of(const KvStorage& storage, std::int64_t capacity) {
    return KvCache({.kv_heads = Hkv, .dim = D, .dim_v = Dv, .capacity = capacity, .storage = storage});
}

/// All rows of all parts, as they are stored (turned, if they are), in order of positions: k and v of a head.
std::pair<std::vector<float>, std::vector<float>> stored(const KvCache& cache, std::int64_t head) {
    std::vector<float> k, v;
    const auto read = [&](const KvView& part, const KvView::Rows& side, std::vector<float>& to) {
        for (std::int64_t t = 0; t < part.length(0, head); ++t) {
            to.resize(to.size() + static_cast<std::size_t>(side.dim));
            attenta::detail::load_row(static_cast<const std::byte*>(side.data) + side.head_bytes(head) +
                                          t * side.token_stride * attenta::size_of(side.dtype),
                                      side.dim, side.dtype, side.codes, to.data() + to.size() - side.dim);
        }
    };
    for (const KvView& part : cache.views(0)) {
        read(part, part.k, k);
        read(part, part.v, v);
    }
    return {k, v};
}

/// softmax(q K') V' of query `position` over rows, in double; q and o in the turned bases.
std::vector<double> naive_row(const float* q, const std::vector<float>& k, const std::vector<float>& v,
                              const std::vector<std::int32_t>& positions, std::int64_t position) {
    std::vector<double> s, o(Dv);
    for (std::size_t j = 0; j < positions.size(); ++j) {
        double sum = 0;
        for (std::size_t c = 0; c < D; ++c) sum += double{q[c]} * double{k[j * D + c]};
        s.push_back(positions[j] <= position ? sum / std::sqrt(double{D}) : -INFINITY);
    }
    const double most = *std::max_element(s.begin(), s.end());
    double all = 0;
    for (double& x : s) all += x = std::exp(x - most);
    for (std::size_t j = 0; j < positions.size(); ++j)
        for (std::size_t c = 0; c < Dv; ++c) o[c] += s[j] / all * double{v[j * Dv + c]};
    return o;
}

/// Attention of the last Tq tokens' queries equals that over the rows which are stored.
void expect_attention(const KvCache& cache, std::int64_t Tq) {
    constexpr std::int64_t Hq = 4;
    const std::vector<float> q = Random(99).normals(Hq * Tq * D);
    const attenta::CacheOptions& options = cache.options();
    const auto largest = [](std::int64_t n, std::int64_t rotation) { return rotation == 0 ? n & -n : rotation; };
    const std::int64_t k_block = largest(D, options.storage.k.rotation),
                       v_block = largest(Dv, options.storage.v.rotation);
    on_every_isa([&](attenta::Context& context) {
        std::vector<float> o(static_cast<std::size_t>(Hq * Tq * Dv));
        cache.attend(0, hnd(q.data(), Hq, Tq, D), hnd(o.data(), Hq, Tq, Dv), {.causal = true}, nullptr, context);
        for (std::int64_t h = 0; h < Hq; ++h) {
            const auto [k, v] = stored(cache, h / 2);
            std::vector<std::int32_t> positions;
            for (const KvView& part : cache.views(0))
                for (std::int64_t t = 0; t < part.length(0, h / 2); ++t)
                    positions.push_back(part.positions ? part.positions_of(0, h / 2)[t] : static_cast<std::int32_t>(t));
            for (std::int64_t t = 0; t < Tq; ++t) {
                std::vector<float> query(q.begin() + (h * Tq + t) * D, q.begin() + (h * Tq + t + 1) * D);
                attenta::detail::rotate_row(query.data(), D, k_block);
                const std::vector<double> turned = naive_row(query.data(), k, v, positions, cache.seen(0) - Tq + t);
                std::vector<float> want(turned.begin(), turned.end());
                attenta::detail::rotate_row(want.data(), Dv, v_block);
                for (std::int64_t c = 0; c < Dv; ++c)
                    ASSERT_NEAR(o[static_cast<std::size_t>((h * Tq + t) * Dv + c)], want[static_cast<std::size_t>(c)],
                                2e-5)
                        << "head " << h << " query " << t << " channel " << c;
            }
        }
    });
}

TEST(KvStorage, RowsAreReadBackWithinHalfAStep) {
    const Rows x(37, 1);
    for (const Named& format : plain_formats()) {
        SCOPED_TRACE(format.name);
        KvCache cache = cache_of(format.storage, 37);
        cache.append(0, x.keys(), x.values());
        const auto step = [](const KvFormat& f) {
            if (f.dtype == Dtype::f32) return 0.0;
            if (f.dtype != Dtype::codes) return 0.02;
            const double range = f.signed_codes ? 4.5 / ((1 << (f.bits - 1)) - 1) : 9.0 / ((1 << f.bits) - 1);
            return f.rotation == 1 ? range / 2 : range * 2;  // a turned error may gather in one channel
        };
        for (std::int64_t h = 0; h < Hkv; ++h)
            for (std::int64_t t = 0; t < x.tokens; ++t) {
                std::vector<float> k(D), v(Dv);
                cache.load_key(0, h, t, k.data());
                cache.load_value(0, h, t, v.data());
                for (std::int64_t c = 0; c < D; ++c)
                    ASSERT_NEAR(k[static_cast<std::size_t>(c)], x.keys().row(h, t)[c], step(format.storage.k));
                for (std::int64_t c = 0; c < Dv; ++c)
                    ASSERT_NEAR(v[static_cast<std::size_t>(c)], x.values().row(h, t)[c], step(format.storage.v));
            }
    }
}

TEST(KvStorage, AttentionReadsWhatIsStored) {
    for (const auto& formats : {plain_formats(), mixed_formats()})
        for (const Named& format : formats)
            for (const std::int64_t tokens : {1, 3, 57, 300, 1100}) {
                SCOPED_TRACE(std::string(format.name) + ", tokens " + std::to_string(tokens));
                const Rows x(tokens, 2);
                KvCache cache = cache_of(format.storage, std::max<std::int64_t>(tokens, 20));
                cache.append(0, x.keys(), x.values());
                for (const std::int64_t Tq : {1, 5, 40, 150})
                    if (Tq <= tokens && (tokens < 1000 || Tq != 40)) expect_attention(cache, Tq);
            }
}

/// The contents do not depend on how tokens came.
TEST(KvStorage, AppendingInPiecesEqualsAppendingAtOnce) {
    const Rows x(83, 3);
    for (const auto& formats : {plain_formats(), mixed_formats()})
        for (const Named& format : formats) {
            SCOPED_TRACE(format.name);
            KvCache whole = cache_of(format.storage, 83), pieces = cache_of(format.storage, 83);
            whole.append(0, x.keys(), x.values());
            std::int64_t at = 0;
            for (const std::int64_t n : {1, 2, 1, 30, 1, 1, 7, 25, 15}) {
                pieces.append(0, x.keys().slice(at, n), x.values().slice(at, n));
                at += n;
            }
            ASSERT_EQ(at, 83);
            for (std::int64_t h = 0; h < Hkv; ++h) EXPECT_EQ(stored(whole, h), stored(pieces, h));
        }
}

TEST(KvStorage, EvictedTokensAreGoneAndOthersAreWhereTheCacheSays) {
    const Rows x(120, 4);
    for (const Named& format : plain_formats()) {
        SCOPED_TRACE(format.name);
        Random random(5);
        KvCache cache = cache_of(format.storage, 90), full = cache_of(format.storage, 120);
        full.append(0, x.keys(), x.values());
        std::vector<std::vector<std::int32_t>> held(Hkv);
        std::int64_t seen = 0;
        for (const std::int64_t n : {60, 1, 1, 20, 1, 1, 30, 1}) {
            cache.append(0, x.keys().slice(seen, n), x.values().slice(seen, n));
            for (std::int64_t h = 0; h < Hkv; ++h) {
                auto& mine = held[static_cast<std::size_t>(h)];
                for (std::int64_t t = seen; t < seen + n; ++t) mine.push_back(static_cast<std::int32_t>(t));
                cache.track_positions(0);
                std::vector<std::int32_t> gone;
                const auto slots = cache.slots(0, h);
                const std::int64_t count = n == 1 ? 1 : random.integer(0, std::ssize(mine) / 2);
                const std::vector<std::int32_t> ranks = random.permutation(std::ssize(mine));
                std::vector<std::int32_t> left;
                std::vector<bool> goes(mine.size());
                for (std::int64_t i = 0; i < count; ++i)
                    goes[static_cast<std::size_t>(ranks[static_cast<std::size_t>(i)])] = true;
                for (std::size_t i = 0; i < mine.size(); ++i)
                    goes[i] ? gone.push_back(slots[i]) : left.push_back(mine[i]);
                std::reverse(gone.begin(), gone.end());
                cache.evict(0, h, gone);
                mine = left;
            }
            seen += n;
            for (std::int64_t h = 0; h < Hkv; ++h) {
                const auto& mine = held[static_cast<std::size_t>(h)];
                ASSERT_EQ(cache.size(0, h), std::ssize(mine));
                for (std::size_t rank = 0; rank < mine.size(); ++rank) {
                    const std::int32_t slot = cache.slots(0, h)[rank];
                    ASSERT_EQ(cache.positions(0, h)[static_cast<std::size_t>(slot)], mine[rank]);
                    std::vector<float> got(D), want(D), got_v(Dv), want_v(Dv);
                    cache.load_key(0, h, slot, got.data());
                    full.load_key(0, h, mine[rank], want.data());
                    cache.load_value(0, h, slot, got_v.data());
                    full.load_value(0, h, mine[rank], want_v.data());
                    ASSERT_EQ(got, want);
                    ASSERT_EQ(got_v, want_v);
                }
            }
            expect_attention(cache, 1);
            if (n > 1) expect_attention(cache, n);
        }
        EXPECT_EQ(cache.seen(0), 115);
        cache.truncate(70);
        EXPECT_EQ(cache.seen(0), 70);
        for (std::int64_t h = 0; h < Hkv; ++h)
            for (const std::int32_t p : cache.positions(0, h)) EXPECT_LT(p, 70);
        expect_attention(cache, 1);
    }
}

TEST(KvStorage, ForksAndSavedCachesGoTheirOwnWay) {
    const Rows x(60, 6), y(20, 7);
    for (const auto& formats : {plain_formats(), mixed_formats()})
        for (const Named& format : formats) {
            SCOPED_TRACE(format.name);
            KvCache cache = cache_of(format.storage, 80);
            cache.append(0, x.keys(), x.values());
            if (format.storage.sink == 0 && format.storage.recent == 0)
                cache.evict(0, 1, std::vector<std::int32_t>{3, 40, 7});
            std::vector<std::byte> bytes(cache.saved_bytes());
            cache.save(bytes);
            KvCache fork = cache, loaded = KvCache::load(bytes);
            fork.append(0, y.keys(), y.values());
            for (std::int64_t h = 0; h < Hkv; ++h) {
                EXPECT_EQ(stored(loaded, h), stored(cache, h));
                EXPECT_EQ(stored(cache, h).first.size(), static_cast<std::size_t>(cache.size(0, h) * D));
            }
            cache.append(0, y.keys(), y.values());
            loaded.append(0, y.keys(), y.values());
            for (std::int64_t h = 0; h < Hkv; ++h) {
                EXPECT_EQ(stored(fork, h), stored(cache, h));
                EXPECT_EQ(stored(loaded, h), stored(cache, h));
            }
        }
}

TEST(KvStorage, RefusesDamagedFiles) {
    const Rows x(9, 8);
    KvCache cache = cache_of(KvStorage::rotated(8, 4, 8), 9);
    cache.append(0, x.keys(), x.values());
    std::vector<std::byte> bytes(cache.saved_bytes());
    cache.save(bytes);
    for (std::size_t n = 0; n < bytes.size(); n += 1 + n / 40)
        EXPECT_TRUE(refuses([&] { KvCache::load(std::span(bytes).first(n)); }, {"KvCache::load"})) << n;
    for (std::size_t i = 0; i < bytes.size(); i += 1 + i / 40) {
        bytes[i] ^= std::byte{16};
        EXPECT_TRUE(refuses([&] { KvCache::load(bytes); }, {"KvCache::load"})) << i;
        bytes[i] ^= std::byte{16};
    }
    bytes.push_back(std::byte{0});
    EXPECT_TRUE(refuses([&] { KvCache::load(bytes); }, {"KvCache::load"}));
    EXPECT_TRUE(refuses([&] { cache.save(bytes); }, {"KvCache::save"}));
}

TEST(KvStorage, RefusesFormatsThatDoNotFit) {
    const auto with = [](const KvStorage& storage) { cache_of(storage, 64); };
    EXPECT_TRUE(refuses([&] { with({KvFormat::codes(3, true), Dtype::f32}); }, {"KvCache", "k", "bits", "3"}));
    EXPECT_TRUE(refuses(
        [&] {
            with({Dtype::f32, KvFormat::codes(8, true, 7)});
        },
        {"KvCache", "v", "groups", "7", "40"}));
    EXPECT_TRUE(refuses(
        [&] {
            with({KvFormat::codes(8, true, {}, 3), Dtype::f32});
        },
        {"KvCache", "k", "rotation", "3"}));
    EXPECT_TRUE(refuses(
        [&] {
            with({KvFormat::codes(8, true, {}, 16), Dtype::f32});
        },
        {"KvCache", "rotation", "16", "24"}));
    EXPECT_TRUE(refuses([&] { with(KvStorage::kivi(2, 8, 12)); }, {"KvCache", "recent", "12", "8"}));
    EXPECT_TRUE(refuses([&] { with(KvStorage::kivi(2, 8, 0)); }, {"KvCache", "recent", "0", "8"}));
    EXPECT_TRUE(
        refuses([&] { with(KvStorage(Dtype::f32, Dtype::f32, 1, 2)); }, {"KvCache", "sink", "recent", "codes"}));
    EXPECT_TRUE(refuses([&] { with(KvStorage::rotated(8, 8, {}, -1, 0)); }, {"KvCache", "sink", "-1"}));
    EXPECT_TRUE(refuses([&] { with(KvStorage::rotated(8, 8, {}, 0, 65)); }, {"KvCache", "recent", "65", "64"}));
}

TEST(KvStorage, RefusesNumbersThatCodesCannotHold) {
    Rows x(3, 9);
    for (const float bad : {NAN, INFINITY, -INFINITY, 2e36f}) {
        x.k[40] = bad;
        KvCache cache = cache_of(KvStorage::int8(), 8);
        EXPECT_TRUE(
            refuses([&] { cache.append(0, x.keys(), x.values()); }, {"KvCache::append", "k", "token 1", "codes"}));
        EXPECT_EQ(cache.size(0), 0);
    }
    x.k[40] = 1e35f;  // a turned channel may get the root of the block times it
    KvCache cache = cache_of(KvStorage::rotated(4, 4, 8), 8);
    cache.append(0, x.keys(), x.values());
    for (const float n : stored(cache, 0).first) EXPECT_TRUE(std::isfinite(n));
}

TEST(KvStorage, RefusesEvictionsThatCannotBe) {
    const Rows x(30, 10);
    KvCache cache = cache_of(Dtype::f32, 30), kivi = cache_of(KvStorage::kivi(2, 4, 8), 30);
    cache.append(0, x.keys(), x.values());
    kivi.append(0, x.keys(), x.values());
    const auto evict = [](KvCache& c, std::vector<std::int32_t> slots) { c.evict(0, 0, slots); };
    EXPECT_TRUE(refuses([&] { evict(cache, {3, 30}); }, {"KvCache::evict", "30", "29"}));
    EXPECT_TRUE(refuses([&] { evict(cache, {3, -1}); }, {"KvCache::evict", "-1"}));
    EXPECT_TRUE(refuses([&] { evict(cache, {3, 4, 3}); }, {"KvCache::evict", "3"}));
    EXPECT_TRUE(refuses([&] { cache.evict(0, 2, {}); }, {"KvCache::evict", "head", "2"}));
    EXPECT_TRUE(refuses([&] { evict(kivi, {3}); }, {"KvCache::evict", "codes"}));
    EXPECT_TRUE(refuses([&] { kivi.view(0); }, {"KvCache::view", "views"}));
    EXPECT_TRUE(refuses([&] { kivi.truncate(20); }, {"KvCache::truncate", "20"}));
    EXPECT_EQ(cache.size(0), 30);
    evict(cache, {3, 4});
    EXPECT_EQ(cache.size(0, 0), 28);
    EXPECT_EQ(cache.size(0, 1), 30);
}

}  // namespace
}  // namespace attenta_test
