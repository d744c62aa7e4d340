#include <attenta/kv/policies/nats.hpp>

#include <limits>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Nats, attenta::NatsOptions;

/// types [Hkv, T]
std::span<const std::int64_t> types_of(const EvictionCase& x) {
    static std::deque<std::vector<std::int64_t>> all;
    Random random(x.seed + 1000);
    auto& types = all.emplace_back(NaiveCache::u(x.sizes.Hkv * x.sizes.T));
    for (std::int64_t& t : types) t = random.chance(0.15) ? 0 : random.integer(1, 2);
    return types;
}

auto make(const EvictionCase& x, const NatsOptions& o) {
    return std::make_unique<Nats>(attenta::hnd(types_of(x).data(), x.sizes.Hkv, x.sizes.T, 1), o);
}

/// Tokens that the query at position `seen` reads.
std::vector<Positions> nats(const NaiveCache& c, const NatsOptions& o) {
    std::vector<Positions> kept = c.kept;
    const auto types = types_of(c.x);
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        const auto type = [&](std::int64_t j) { return j < o.sink ? 0 : types[NaiveCache::u(g * c.x.sizes.T + j)]; };
        std::erase_if(kept[NaiveCache::u(g)], [&](std::int64_t j) {
            if (type(j) == 2) return c.seen > j + o.window;
            for (std::int64_t i = j; type(j) == 1 && i < c.seen; ++i)
                if (type(i) == 0) return true;
            return false;
        });
    }
    return kept;
}

[[maybe_unused]] const auto& policy = test_given_policy<Nats, make, nats>(
    "nats", {{"window", {.window = 6}}, {"no window", {.window = 0}}, {"sinks", {.window = 4, .sink = 5}}});

TEST(Nats, TypesAreTheLargestLogits) {
    const std::vector<float> logits = {0, 5, 5, 1, 1.05f, 0, 0, 2, 2, -1, -2, 3};  // [2, 2, 3]
    const auto view = attenta::hnd(logits.data(), 2, 2, 3);
    EXPECT_EQ(attenta::nats_types(view, {.sink = 0}), (std::vector<std::int64_t>{1, 0, 1, 2}));
    EXPECT_EQ(attenta::nats_types(view, {.sink = 1}), (std::vector<std::int64_t>{0, 0, 0, 2}));
    EXPECT_EQ(attenta::nats_types(view, {.sink = 0, .global_bias = 0}), (std::vector<std::int64_t>{1, 1, 1, 2}));
    const std::vector<std::int64_t> types = {1, 2, 2, 1};
    EXPECT_EQ(attenta::nats_types(attenta::hnd(types.data(), 2, 2, 1), {}), (std::vector<std::int64_t>{0, 2, 0, 1}));
}

TEST(Nats, RefusesWhatDoesNotFit) {
    std::vector<std::int64_t> types(12);
    const auto view = [&](std::int64_t heads, std::int64_t tokens) {
        return attenta::hnd<const std::int64_t>(types.data(), heads, tokens, 1);
    };
    const auto needs = [&](const NatsOptions& o) { Nats(view(2, 6), o).needs({4, 2, 16, 16}); };
    EXPECT_NO_THROW(needs({.window = 0}));
    EXPECT_TRUE(refuses([&] { needs({}); }, {"nats", "window", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.window = 1, .sink = -1}); }, {"nats", "sink", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { Nats(view(3, 4), {.window = 1}).needs({4, 2, 16, 16}); }, {"nats", "types", "3", "2"}));
    types[8] = 3;
    EXPECT_TRUE(refuses([&] { needs({.window = 1}); }, {"nats", "types", "3", "token 2", "head 1"}));
    EXPECT_TRUE(refuses([&] { attenta::nats_types(view(2, 6), {}); }, {"nats", "types", "3", "token 2", "head 1"}));
    std::vector<float> logits(12);
    const auto logits_of = [&](std::int64_t dim) { return attenta::hnd<const float>(logits.data(), 2, 2, dim); };
    EXPECT_TRUE(refuses([&] { attenta::nats_types(logits_of(2), {}); }, {"nats", "logits", "2", "3"}));
    EXPECT_TRUE(refuses([&] { attenta::nats_types(logits_of(3), {.sink = -1}); }, {"nats", "sink", "-1"}));
    EXPECT_TRUE(
        refuses([&] { attenta::nats_types(logits_of(3), {.global_bias = std::numeric_limits<float>::infinity()}); },
                {"nats", "global_bias", "finite"}));
    logits[4] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { attenta::nats_types(logits_of(3), {}); }, {"nats", "logits", "token 1", "head 0"}));
}

}  // namespace
}  // namespace attenta_test
