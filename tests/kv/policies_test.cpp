// Every eviction policy holds the tokens that its definition, on top of its own test, holds, and gives its outputs.
#include <attenta/kv/policies/h2o.hpp>

#include <gtest/gtest.h>
#include <attenta/kv/policies/streaming.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

class EvictionPolicies : public testing::TestWithParam<const TestedPolicy*> {};

std::vector<const TestedPolicy*> all_policies() {
    std::vector<const TestedPolicy*> all;
    for (const TestedPolicy& p : tested_policies()) all.push_back(&p);
    return all;
}
INSTANTIATE_TEST_SUITE_P(All, EvictionPolicies, testing::ValuesIn(all_policies()),
                         [](const auto& test) { return test.param->name; });

/// A prompt shorter than any budget, one token to decode, groups, one head, odd sizes, Dv other than D.
const std::vector<EvictionSizes> shapes = {{57, 39, 4, 2, 16, 12}, {45, 30, 3, 3, 11, 8},  {43, 31, 6, 2, 9, 14},
                                           {40, 3, 4, 1, 8, 5},    {37, 36, 2, 2, 24, 24}, {61, 44, 8, 2, 32, 20}};

/// A case without decisions that floats may take otherwise, and what is expected of it.
struct ClearCase {
    EvictionCase x;
    EvictionResult want;
};

std::optional<ClearCase> clear_case(const PolicyVariant& variant, const EvictionSizes& sizes) {
    for (std::uint64_t seed = 1; seed < 60; ++seed) {
        EvictionCase x(sizes, seed);
        EvictionResult want = naive_eviction(x, variant.definition(x));
        if (want.gap >= 1) return ClearCase{std::move(x), std::move(want)};
    }
    return {};
}

void expect_same(const EvictionResult& got, const EvictionResult& want) {
    EXPECT_EQ(got.kept, want.kept);
    ASSERT_EQ(got.o.size(), want.o.size());
    for (std::size_t i = 0; i < want.o.size(); ++i)
        ASSERT_NEAR(got.o[i], want.o[i], 2e-5 + 2e-4 * std::abs(want.o[i])) << "element " << i;
}

TEST_P(EvictionPolicies, HoldWhatTheirDefinitionHolds) {
    for (const PolicyVariant& variant : GetParam()->variants)
        for (const EvictionSizes& sizes : shapes) {
            if (GetParam()->even_dim && sizes.D % 2 != 0) continue;
            SCOPED_TRACE(testing::Message() << variant.name << ", " << sizes);
            const auto c = clear_case(variant, sizes);
            ASSERT_TRUE(c) << "no case without near ties";
            on_every_isa([&](attenta::Context& context) {
                expect_same(run_policy(c->x, *variant.make(c->x), context), c->want);
            });
        }
}

/// Rounded numbers may change who is kept, but not how many, and nothing breaks.
TEST_P(EvictionPolicies, WorkOnEveryStorage) {
    const EvictionSizes sizes{57, 39, 4, 2, 16, 16};
    for (const PolicyVariant& variant : GetParam()->variants)
        for (const auto& storage : {attenta::KvStorage(attenta::Dtype::f16), attenta::KvStorage::int8(),
                                    attenta::KvStorage::rotated(8, 4, 16)}) {
            SCOPED_TRACE(variant.name);
            const EvictionCase x(sizes, 5);
            attenta::Context context;
            const EvictionResult got = run_policy(x, *variant.make(x), context, storage);
            for (const double o : got.o) ASSERT_TRUE(std::isfinite(o));
            for (const Positions& held : got.kept) {
                EXPECT_TRUE(std::is_sorted(held.begin(), held.end()));
                EXPECT_TRUE(std::adjacent_find(held.begin(), held.end()) == held.end());
            }
        }
}

/// Who stays does not depend on numbers here, so that outputs differ by rounding alone.
TEST(Evictor, AttendsToRotatedCodesAsToFloats) {
    const EvictionCase x({57, 39, 4, 2, 16, 32}, 5);
    attenta::Context context;
    const auto run = [&](const attenta::KvStorage& storage) {
        attenta::Streaming policy({.budget = 20});
        return run_policy(x, policy, context, storage);
    };
    const EvictionResult want = run(attenta::Dtype::f32), got = run(attenta::KvStorage::rotated(8, 8, 16));
    EXPECT_EQ(got.kept, want.kept);
    ASSERT_EQ(got.o.size(), want.o.size());
    for (std::size_t i = 0; i < want.o.size(); ++i) ASSERT_NEAR(got.o[i], want.o[i], 0.05) << "element " << i;
}

/// Calls that are refused leave cache and policy as they were.
TEST(Evictor, RefusesBeforeAnythingIsWritten) {
    const EvictionCase x({12, 8, 4, 2, 16, 8}, 2);
    attenta::H2o policy({.budget = 6});
    attenta::KvCache cache({.kv_heads = 2, .dim = 16, .dim_v = 8, .capacity = 9});
    EXPECT_TRUE(refuses([&] { attenta::Evictor(cache, policy, {.query_heads = 3}); }, {"Evictor", "query_heads", "3"}));
    attenta::Evictor evictor(cache, policy, {.query_heads = 4});
    std::vector<float> o(4 * 12 * 8, 7.f);
    const auto out = [&](std::int64_t tokens) { return attenta::nhd(o.data(), tokens, 4, 8); };
    const auto prompt = [&](std::int64_t n, attenta::Heads<float> to) {
        evictor.prompt(x.queries().slice(0, n), x.keys().slice(0, n), x.values().slice(0, n), to);
    };
    EXPECT_TRUE(refuses([&] { prompt(12, out(12)); }, {"KvCache::append", "12", "9"}));
    EXPECT_TRUE(refuses([&] { prompt(8, out(7)); }, {"Evictor::prompt", "o"}));
    EXPECT_EQ(cache.seen(0), 0);
    prompt(8, out(8));
    EXPECT_TRUE(refuses([&] { prompt(1, out(1)); }, {"Evictor::prompt", "layer"}));
    const auto step = [&](attenta::Heads<const float> q, attenta::Heads<float> to) {
        evictor.step(q, x.keys().slice(8, 1), x.values().slice(8, 1), to);
    };
    EXPECT_TRUE(refuses([&] { step(x.queries().slice(8, 2), out(1)); }, {"Evictor::step", "q", "2"}));
    EXPECT_TRUE(refuses([&] { step(x.queries().slice(8, 1), {}); }, {"Evictor::step", "o", "null"}));
    EXPECT_TRUE(refuses([&] { step(x.queries().slice(8, 1), out(2)); }, {"Evictor::step", "o"}));
    EXPECT_EQ(cache.seen(0), 8);
    EXPECT_EQ(evictor.kept(0).size(), 6u);
    step(x.queries().slice(8, 1), out(1));
    EXPECT_EQ(cache.seen(0), 9);
}

/// A score that is no number decides nothing.
TEST(Evictor, RefusesScoresThatAreNoNumbers) {
    for (const std::size_t at : {std::size_t{3}, std::size_t{17}, std::size_t{39}}) {
        EvictionCase x({41, 40, 2, 1, 8, 8}, 2);
        x.k[at * 8] = NAN;
        attenta::H2o policy({.budget = 40, .heavy = 40});
        attenta::Context context;
        EXPECT_TRUE(refuses([&] { run_policy(x, policy, context); }, {"Evictor", "scores", "head 0"})) << at;
    }
}

}  // namespace
}  // namespace attenta_test
