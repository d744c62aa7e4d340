#include <attenta/kv/policies/streaming.hpp>

#include "kv/support/policy.hpp"
#include "kv/support/rotary.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

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

/// With `reposition`: q and k are not rotated yet. The held tokens of step i, the new one last, stand at 0 .. n − 1, the query at
/// n − 1.
std::vector<double> repositioned(const EvictionCase& x, const StreamingOptions& o) {
    const EvictionSizes& s = x.sizes;
    const auto u = NaiveCache::u;
    std::vector<double> all;
    Positions kept;
    const auto evict = [&] {
        while (std::ssize(kept) > o.budget) kept.erase(kept.begin() + o.sink);
    };
    for (std::int64_t i = 0; i < s.prompt; ++i) kept.push_back(i);
    evict();
    for (std::int64_t i = s.prompt; i < s.T; ++i) {
        kept.push_back(i);
        for (std::int64_t h = 0; h < s.Hq; ++h) {
            const std::int64_t g = h / (s.Hq / s.Hkv);
            const auto q = naive_rotate(x.queries().row(h, i), s.D, std::ssize(kept) - 1, o.rope_base);
            std::vector<double> out(u(s.Dv));
            double sum = 0;
            for (std::int64_t n = 0; n < std::ssize(kept); ++n) {
                const auto k = naive_rotate(x.keys().row(g, kept[u(n)]), s.D, n, o.rope_base);
                const double weight = std::exp(std::inner_product(q.begin(), q.end(), k.begin(), 0.0) /
                                               std::sqrt(static_cast<double>(s.D)));
                sum += weight;
                for (std::size_t c = 0; c < out.size(); ++c)
                    out[c] += weight * double{x.values().row(g, kept[u(n)])[c]};
            }
            for (const double e : out) all.push_back(e / sum);
        }
        evict();
    }
    return all;
}

/// The same case as policies get it: q and k rotated for their places in the text.
EvictionCase rotated(EvictionCase x, double base) {
    const EvictionSizes& s = x.sizes;
    for (auto& [rows, heads] : {std::pair{&x.q, s.Hq}, {&x.k, s.Hkv}})
        for (std::int64_t t = 0; t < s.T; ++t)
            for (std::int64_t h = 0; h < heads; ++h) {
                float* const row = rows->data() + (t * heads + h) * s.D;
                const auto turned = naive_rotate(row, s.D, t, base);
                std::transform(turned.begin(), turned.end(), row, [](double e) { return static_cast<float>(e); });
            }
    return x;
}

TEST(Streaming, RepositionCountsPositionsInsideTheCache) {
    for (const StreamingOptions& o : {StreamingOptions{.budget = 14, .sink = 3, .reposition = true},
                                      StreamingOptions{.budget = 9, .sink = 9, .reposition = true, .rope_base = 50},
                                      StreamingOptions{.budget = 6, .sink = 0, .reposition = true},
                                      StreamingOptions{.budget = 50, .sink = 4, .reposition = true}})
        for (const EvictionSizes& sizes : {EvictionSizes{47, 29, 4, 1, 12, 9}, EvictionSizes{40, 3, 6, 2, 16, 16}}) {
            SCOPED_TRACE(testing::Message() << "budget " << o.budget << ", sink " << o.sink << ", " << sizes);
            const EvictionCase x(sizes, 4);
            const std::vector<double> want = repositioned(x, o);
            on_every_isa([&](attenta::Context& context) {
                Streaming streaming_of_case(o);
                const EvictionResult got = run_policy(rotated(x, o.rope_base), streaming_of_case, context);
                ASSERT_EQ(got.o.size(), want.size());
                for (std::size_t i = 0; i < want.size(); ++i)
                    ASSERT_NEAR(got.o[i], want[i], 2e-5 + 2e-4 * std::abs(want[i])) << "element " << i;
            });
        }
}

TEST(Streaming, RefusesWhatDoesNotFit) {
    const auto needs = [](const StreamingOptions& o) { Streaming(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"streaming", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 4, .sink = 5}); }, {"streaming", "sink", "5", "4"}));
    EXPECT_TRUE(refuses([&] { needs({.rope_base = 0}); }, {"streaming", "rope_base", "0.000000"}));
    EXPECT_TRUE(refuses([] { Streaming({.reposition = true}).needs({4, 2, 15, 16}); }, {"streaming", "15", "even"}));
}

}  // namespace
}  // namespace attenta_test
