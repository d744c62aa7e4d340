#include <attenta/kv/policies/knorm.hpp>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Knorm, attenta::KnormOptions;

/// score = −‖k_j‖
std::vector<Positions> knorm(const NaiveCache& c, const KnormOptions& o) {
    return keep_best(c, o.budget, o.recent,
                     [&](std::int64_t g, std::int64_t j) { return -naive_norm(c.key(j, g), c.x.sizes.D); });
}

[[maybe_unused]] const auto& policy = test_policy<Knorm, knorm>(
    "knorm", {{"plain", {.budget = 17}}, {"recent", {.budget = 14, .recent = 6}}, {"one slot", {.budget = 1}}});

TEST(Knorm, RefusesBudgetsThatDoNotFit) {
    const auto needs = [](const KnormOptions& o) { Knorm(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"knorm", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = 9}); }, {"knorm", "recent", "9", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = -1}); }, {"knorm", "recent", "-1", "8"}));
}

}  // namespace
}  // namespace attenta_test
