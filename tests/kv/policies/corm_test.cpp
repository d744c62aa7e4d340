#include <attenta/kv/policies/corm.hpp>

#include "kv/support/policy.hpp"
#include "kv/support/uniform_share.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Corm, attenta::CormOptions, attenta::UniformShare;

/// The recent tokens stay, and those that one of the last w queries i >= j gave its share in one head of the group.
std::vector<Positions> corm(const NaiveCache& c, const CormOptions& o) {
    if (c.seen < o.window) return c.kept;
    std::vector<Positions> kept;
    for (std::int64_t g = 0; g < std::ssize(c.kept); ++g) {
        const auto [old, recent] = c.without_recent(g, o.recent.value_or(o.window));
        Positions& held = kept.emplace_back();
        for (const std::int64_t j : old) {
            bool needed = false;
            for (std::int64_t i = std::max(j, c.seen - o.window); i < c.seen; ++i)
                for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h)
                    needed |= gives_its_share(c, o.uniform, h, i, j);
            if (needed) held.push_back(j);
        }
        held = c.together(held, recent);
    }
    return kept;
}

[[maybe_unused]] const auto& policy =
    test_policy<Corm, corm>("corm", {{"plain", {.window = 6}},
                                     {"fewer recent", {.window = 9, .recent = 3}},
                                     {"share of the kept", {.window = 5, .recent = 2, .uniform = UniformShare::kept}},
                                     {"one query, none recent", {.window = 1, .recent = 0}},
                                     {"nothing goes", {.window = 100}}});

TEST(Corm, RefusesOptionsThatDoNotFit) {
    const auto needs = [](const CormOptions& o) { Corm(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.window = 0}); }, {"corm", "window", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.window = 4, .recent = -1}); }, {"corm", "recent", "-1", "0"}));
}

}  // namespace
}  // namespace attenta_test
