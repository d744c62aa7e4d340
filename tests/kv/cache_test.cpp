// A KvCache keeps what was appended, in its storage type, and hands it out as a view.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::CacheOptions;
using attenta::Dtype;
using attenta::KvCache;
using attenta::KvView;

constexpr Dtype dtypes[] = {Dtype::f32, Dtype::bf16, Dtype::f16};

template <class T>
bool holds(const std::byte* memory, attenta::Heads<const float> x, std::int64_t head, std::int64_t token) {
    for (std::int64_t c = 0; c < x.dim; ++c) {
        const T want = static_cast<T>(x.row(head, token)[c]);
        if (std::memcmp(memory + c * attenta::size_of(attenta::dtype_of<T>), &want, sizeof(T)) != 0) return false;
    }
    return true;
}

bool holds(Dtype t, const std::byte* memory, attenta::Heads<const float> x, std::int64_t head, std::int64_t token) {
    return t == Dtype::f32    ? holds<float>(memory, x, head, token)
           : t == Dtype::bf16 ? holds<attenta::bfloat16>(memory, x, head, token)
                              : holds<attenta::float16>(memory, x, head, token);
}

/// The view shows exactly k and v, rounded to the storage type.
testing::AssertionResult shows(const KvView& kv, attenta::Heads<const float> k, attenta::Heads<const float> v) {
    if (kv.heads != k.heads || kv.length(0) != k.tokens || kv.k.dim != k.dim || kv.v.dim != v.dim)
        return testing::AssertionFailure() << "another shape: heads " << kv.heads << ", tokens " << kv.length(0);
    for (std::int64_t t = 0; t < k.tokens; ++t) {
        const std::byte *k_row = nullptr, *v_row = nullptr;
        kv.locate(0, t, 1, &k_row, &v_row);
        for (std::int64_t h = 0; h < k.heads; ++h)
            if (!holds(kv.k.dtype, k_row + h * kv.k.head_stride * attenta::size_of(kv.k.dtype), k, h, t) ||
                !holds(kv.v.dtype, v_row + h * kv.v.head_stride * attenta::size_of(kv.v.dtype), v, h, t))
                return testing::AssertionFailure() << "head " << h << ", token " << t << " differ";
    }
    return testing::AssertionSuccess();
}

struct Data {
    Random random{3};
    Tensor<float> k = random_tensor(random, 3, 40, 20), v = random_tensor(random, 3, 40, 12, Order::token_head, 5);
};

CacheOptions cache_options(Dtype storage) {
    return {.layers = 2, .kv_heads = 3, .dim = 20, .dim_v = 12, .capacity = 40, .storage = storage};
}

TEST(KvCache, ShowsWhatWasAppended) {
    const Data x;
    for (const Dtype storage : dtypes) {
        KvCache cache(cache_options(storage));
        EXPECT_EQ(cache.size(), 0);
        cache.append(0, x.k.view(), x.v.view());
        EXPECT_EQ(cache.size(0), 40);
        EXPECT_EQ(cache.size(1), 0);
        EXPECT_EQ(cache.view(0).k.dtype, storage);
        EXPECT_TRUE(shows(cache.view(0), x.k.view(), x.v.view()));
        EXPECT_GE(cache.bytes(), 2 * 3 * 40 * (20 + 12) * attenta::size_of(storage));
    }
}

TEST(KvCache, AppendingInPiecesEqualsAppendingAtOnce) {
    const Data x;
    for (const Dtype storage : dtypes) {
        KvCache cache(cache_options(storage));
        std::int64_t done = 0;
        for (const std::int64_t n : {1, 16, 1, 0, 15, 7}) {
            cache.append(1, x.k.view().slice(done, n), x.v.view().slice(done, n));
            done += n;
            EXPECT_TRUE(shows(cache.view(1), x.k.view().slice(0, done), x.v.view().slice(0, done)));
        }
    }
}

TEST(KvCache, TruncationForgetsTheEndOfEveryLayer) {
    const Data x;
    KvCache cache(cache_options(Dtype::f16));
    cache.append(0, x.k.view(), x.v.view());
    cache.append(1, x.k.view().slice(0, 10), x.v.view().slice(0, 10));
    cache.truncate(25);
    EXPECT_TRUE(shows(cache.view(0), x.k.view().slice(0, 25), x.v.view().slice(0, 25)));
    EXPECT_EQ(cache.size(1), 10);
    cache.append(0, x.k.view().slice(25, 15), x.v.view().slice(25, 15));
    EXPECT_TRUE(shows(cache.view(0), x.k.view(), x.v.view()));
    cache.truncate(0);
    EXPECT_EQ(cache.size(0) + cache.size(1), 0);
}

TEST(KvCache, ValuesAreAsWideAsKeysUnlessSaid) {
    const KvCache cache({.kv_heads = 1, .dim = 8, .capacity = 4});
    EXPECT_EQ(cache.view(0).v.dim, 8);
}

TEST(KvCache, AttentionOnItEqualsAttentionOnTheTensors) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c(shape);
        for (const Dtype storage : dtypes) {
            KvCache cache({.kv_heads = shape.Hkv,
                           .dim = shape.D,
                           .dim_v = shape.Dv,
                           .capacity = shape.Tk + 9,
                           .storage = storage});
            cache.append(0, c.k.view(), c.v.view());
            const auto k16 = converted<attenta::bfloat16>(c.k.view()), v16 = converted<attenta::bfloat16>(c.v.view());
            const auto kh = converted<attenta::float16>(c.k.view()), vh = converted<attenta::float16>(c.v.view());
            const KvView tensors = storage == Dtype::f32    ? KvView::of(c.k.view(), c.v.view())
                                   : storage == Dtype::bf16 ? KvView::of(k16.view(), v16.view())
                                                            : KvView::of(kh.view(), vh.view());
            on_every_isa([&](attenta::Context& context) {
                EXPECT_TRUE(same_bits(attend(c, cache.view(0), context), attend(c, tensors, context)))
                    << shape << " " << name(storage);
            });
        }
    }
}

TEST(KvCache, AttentionOnAnEmptyOneGivesZero) {
    const Case c({4, 2, 3, 0, 16, 16});
    const KvCache cache({.kv_heads = 2, .dim = 16, .capacity = 4});
    on_every_isa([&](attenta::Context& context) { EXPECT_TRUE(close(attend(c, cache.view(0), context), naive(c))); });
}

TEST(KvCache, RefusesMoreThanItsCapacityAndKeepsWhatItHas) {
    const Data x;
    KvCache cache(cache_options(Dtype::f32));
    cache.append(0, x.k.view().slice(0, 30), x.v.view().slice(0, 30));
    EXPECT_TRUE(refuses([&] { cache.append(0, x.k.view().slice(0, 11), x.v.view().slice(0, 11)); }, {"append", "40"}));
    EXPECT_TRUE(shows(cache.view(0), x.k.view().slice(0, 30), x.v.view().slice(0, 30)));
    cache.append(0, x.k.view().slice(30, 10), x.v.view().slice(30, 10));
    EXPECT_TRUE(shows(cache.view(0), x.k.view(), x.v.view()));
}

/// A call that appends k and v after `spoil` has changed their views.
template <class Spoil>
auto append_spoiled(KvCache& cache, const Data& x, Spoil spoil) {
    return [&cache, &x, spoil] {
        attenta::Heads<const float> k = x.k.view(), v = x.v.view();
        spoil(k, v);
        cache.append(0, k, v);
    };
}

TEST(KvCache, RefusesShapesThatDoNotFit) {
    const Data x;
    KvCache cache(cache_options(Dtype::f32));
    const auto append = [&](auto spoil) { return append_spoiled(cache, x, spoil); };
    EXPECT_TRUE(refuses(append([](auto& k, auto& v) { k.heads = v.heads = 2; }), {"append", "k", "2", "3"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.heads = 2; }), {"append", "v", "2", "3"}));
    EXPECT_TRUE(refuses(append([](auto& k, auto&) { k.dim = 19; }), {"append", "k", "19", "20"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.dim = 11; }), {"append", "v", "11", "12"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.tokens = 39; }), {"append", "v", "39", "40"}));
    EXPECT_EQ(cache.size(), 0);
}

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(KvCache, RefusesNumbersThatItsStorageTurnsIntoInfinities) {
    const struct {
        Dtype storage;
        float last;
    } limits[] = {{Dtype::f16, 65504.0f}, {Dtype::bf16, 3.3895313892515355e38f}};
    for (const auto& [storage, last] : limits)
        for (const bool value : {false, true})
            for (const float sign : {1.0f, -1.0f}) {
                const Data x, spoiled;
                KvCache cache(cache_options(storage));
                cache.append(0, x.k.view().slice(0, 20), x.v.view().slice(0, 20));
                float& number = (value ? spoiled.v : spoiled.k).row(2, 33)[7];
                const auto rest = [&] {
                    cache.append(0, spoiled.k.view().slice(20, 20), spoiled.v.view().slice(20, 20));
                };
                for (const float beyond :
                     {std::nextafter(last, infinity), std::numeric_limits<float>::max(), 70000.0f}) {
                    if (beyond <= last) continue;
                    number = sign * beyond;
                    EXPECT_TRUE(refuses(rest, {"KvCache::append", value ? "v" : "k", "layer 0", "head 2", "token 13",
                                               std::to_string(number), name(storage)}));
                    EXPECT_TRUE(shows(cache.view(0), x.k.view().slice(0, 20), x.v.view().slice(0, 20)));
                }
                number = sign * last;
                rest();
                EXPECT_TRUE(shows(cache.view(0), spoiled.k.view(), spoiled.v.view()));
            }
}

TEST(KvCache, KeepsNanAndInfinities) {
    for (const Dtype storage : dtypes) {
        const Data x;
        x.k.row(0, 3)[2] = infinity, x.k.row(1, 4)[0] = -infinity, x.v.row(2, 39)[11] = infinity;
        KvCache cache(cache_options(storage));
        cache.append(0, x.k.view(), x.v.view());
        EXPECT_TRUE(shows(cache.view(0), x.k.view(), x.v.view()));
        x.v.row(0, 0)[0] = std::nanf("");
        cache.append(1, x.k.view(), x.v.view());
        EXPECT_TRUE(shows(cache.view(1), x.k.view(), x.v.view()));
    }
}

TEST(KvCache, RefusesNullAndMemoryThatCannotBe) {
    const Data x;
    KvCache cache(cache_options(Dtype::f32));
    const auto append = [&](auto spoil) { return append_spoiled(cache, x, spoil); };
    EXPECT_TRUE(refuses(append([](auto& k, auto&) { k.data = nullptr; }), {"append", "k", "null"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.data = nullptr; }), {"append", "v", "null"}));
    EXPECT_TRUE(refuses(append([](auto& k, auto&) { k.token_stride = -20; }), {"append", "k", "-20"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.head_stride = -1; }), {"append", "v", "-1"}));
    EXPECT_TRUE(refuses(append([](auto& k, auto&) { k.head_stride = most / 4; }), {"append", "k"}));
    EXPECT_TRUE(refuses(append([](auto&, auto& v) { v.token_stride = most; }), {"append", "v"}));
    EXPECT_TRUE(refuses(append([](auto& k, auto& v) { k.tokens = v.tokens = most; }), {"append", "k", "40"}));
    EXPECT_TRUE(refuses(append([](auto& k, auto& v) { k.tokens = v.tokens = -1; }), {"append", "k", "-1"}));
    EXPECT_EQ(cache.size(), 0);
    cache.append(0, x.k.view(), x.v.view());
    EXPECT_TRUE(refuses(append([](auto& k, auto& v) { k.tokens = v.tokens = most; }), {"append", "k", "40"}));
    cache.append(0, attenta::hnd<const float>(nullptr, 3, 0, 20), attenta::hnd<const float>(nullptr, 3, 0, 12));
    EXPECT_TRUE(shows(cache.view(0), x.k.view(), x.v.view()));
}

TEST(KvCache, RefusesLayersThatItHasNot) {
    const Data x;
    KvCache cache(cache_options(Dtype::f32));
    for (const int layer : {-1, 2, std::numeric_limits<int>::max()}) {
        const std::string given = std::to_string(layer);
        EXPECT_TRUE(refuses([&] { cache.size(layer); }, {"KvCache::size", given, "1"}));
        EXPECT_TRUE(refuses([&] { cache.view(layer); }, {"KvCache::view", given, "1"}));
        EXPECT_TRUE(refuses([&] { cache.append(layer, x.k.view(), x.v.view()); }, {"KvCache::append", given, "1"}));
    }
}

TEST(KvCache, RefusesSizesThatNoMemoryHolds) {
    const CacheOptions all[] = {{.kv_heads = 8, .dim = 128, .capacity = std::int64_t{1} << 53},
                                {.layers = 1 << 20, .kv_heads = 1 << 20, .dim = 1 << 12, .capacity = 1 << 12},
                                {.kv_heads = 1, .dim = 64, .capacity = most},
                                {.kv_heads = 3, .dim = 96, .capacity = (std::int64_t{1} << 61) / 3},
                                {.kv_heads = 1, .dim = most, .dim_v = most, .capacity = 1},
                                {.kv_heads = 1, .dim = 1 << 10, .capacity = std::int64_t{1} << 49}};
    for (const CacheOptions& options : all) {
        SCOPED_TRACE(options.capacity);
        EXPECT_TRUE(refuses([&] { KvCache{options}; }, {}));
    }
    CacheOptions untyped = cache_options(Dtype::f32);
    untyped.storage = static_cast<Dtype>(9);
    EXPECT_TRUE(refuses([&] { KvCache{untyped}; }, {"KvCache", "storage"}));
}

TEST(KvCache, RefusesSizesBelowOne) {
    const auto made = [](auto spoil) {
        return [spoil] {
            CacheOptions o = cache_options(Dtype::f32);
            spoil(o);
            KvCache{o};
        };
    };
    EXPECT_TRUE(refuses(made([](auto& o) { o.layers = 0; }), {"KvCache", "layers", "0"}));
    EXPECT_TRUE(refuses(made([](auto& o) { o.kv_heads = 0; }), {"KvCache", "kv_heads", "0"}));
    EXPECT_TRUE(refuses(made([](auto& o) { o.dim = -4; }), {"KvCache", "dim", "-4"}));
    EXPECT_TRUE(refuses(made([](auto& o) { o.dim_v = -1; }), {"KvCache", "dim_v", "-1"}));
    EXPECT_TRUE(refuses(made([](auto& o) { o.capacity = 0; }), {"KvCache", "capacity", "0"}));
}

}  // namespace
}  // namespace attenta_test
