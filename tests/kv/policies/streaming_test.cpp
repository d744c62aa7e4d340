#include <attenta/kv/policies/streaming.hpp>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Streaming, attenta::StreamingOptions;

/// The first `sink` tokens and the B − sink newest.
std::vector<Positions> streaming(const NaiveCache& c, const StreamingOptions& o) {
    std::vector<Positions> kept = c.kept;
    for (Positions& held : kept)
        while (std::ssize(held) > o.budget)
            held.erase(std::find_if(held.begin(), held.end(), [&](std::int64_t j) { return j >= o.sink; }));
    return kept;
}

[[maybe_unused]] const auto& policy = test_policy<Streaming, streaming>(
    "streaming",
    {{"plain", {.budget = 19}}, {"no sink", {.budget = 11, .sink = 0}}, {"one more", {.budget = 5, .sink = 4}}});

TEST(Streaming, RefusesBudgetsThatDoNotFit) {
    const auto needs = [](const StreamingOptions& o) { Streaming(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"streaming", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 4, .sink = 5}); }, {"streaming", "sink", "5", "4"}));
}

}  // namespace
}  // namespace attenta_test
