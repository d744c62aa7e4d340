#include <attenta/kv/policies/random_eviction.hpp>

#include <limits>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RandomEviction, attenta::RandomEvictionOptions;

/// rand [T, Hkv]
std::span<const float> rand_of(const EvictionCase& x) { return given_numbers(x, x.sizes.T * x.sizes.Hkv); }

auto make(const EvictionCase& x, const RandomEvictionOptions& o) {
    return std::make_unique<RandomEviction>(attenta::nhd(rand_of(x).data(), x.sizes.T, x.sizes.Hkv, 1), o);
}

/// The budget's largest numbers.
std::vector<Positions> random_eviction(const NaiveCache& c, const RandomEvictionOptions& o) {
    const auto rand = rand_of(c.x);
    return keep_best(c, o.budget, 0, [&](std::int64_t g, std::int64_t j) {
        return double{rand[NaiveCache::u(j * c.x.sizes.Hkv + g)]};
    });
}

[[maybe_unused]] const auto& policy = test_given_policy<RandomEviction, make, random_eviction>(
    "random_eviction", {{"plain", {.budget = 14}}, {"one slot", {.budget = 1}}, {"all fit", {.budget = 100}}});

TEST(RandomEviction, RefusesWhatDoesNotFit) {
    std::vector<float> rand(12, 1.f);
    const auto needs = [&](std::int64_t tokens, std::int64_t heads, std::int64_t budget = 8) {
        RandomEviction(attenta::nhd<const float>(rand.data(), tokens, heads, 1), {.budget = budget})
            .needs({4, 2, 16, 16});
    };
    EXPECT_NO_THROW(needs(6, 2));
    EXPECT_TRUE(refuses([&] { needs(6, 2, 0); }, {"random_eviction", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs(4, 3); }, {"random_eviction", "rand", "3", "2"}));
    EXPECT_TRUE(refuses([&] { needs(0, 2); }, {"random_eviction", "rand", "0", "2"}));
    rand[7] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { needs(6, 2); }, {"random_eviction", "rand", "token 3", "head 1", "finite"}));
}

TEST(RandomEviction, RefusesTokensWithoutANumber) {
    const EvictionCase x({6, 3, 2, 2, 8, 8}, 1);
    const std::vector<float> rand(10, 1.f);
    RandomEviction short_one(attenta::nhd(rand.data(), 5, 2, 1), {.budget = 4});
    attenta::Context context;
    EXPECT_TRUE(refuses([&] { run_policy(x, short_one, context); }, {"random_eviction", "rand", "5"}));
}

}  // namespace
}  // namespace attenta_test
