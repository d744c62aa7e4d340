// Rescaled weights equal their definition, with negative factors and renormalised; a factor of 1 changes nothing; own errors.
#include <attenta/analysis/token_rescale.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::TokenRescaleInputs, analysis::TokenRescaleOptions;
constexpr auto call = &analysis::token_rescale;

Values definition(const TokenRescaleInputs& x, const NaiveCache& cache, const TokenRescaleOptions& o) {
    Values want;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            NaiveRow row = naive_row(x.q, cache.k, h, i, o.causal, o.scale);
            double sum = 0;
            for (std::size_t j = 0; j < row.weights.size(); ++j)
                sum += row.weights[j] *= x.key_mask[j] != 0 ? double{x.factor[static_cast<std::size_t>(h)]} : 1;
            for (double& w : row.weights) w /= o.renormalize ? sum : 1;
            append_output(want["o"], row.weights, cache.v, h, x.q.heads);
            want["lse"].push_back(row.lse);
            want["row_sum"].push_back(o.renormalize ? 1 : sum);
        }
    return want;
}

struct Drawn {
    NaiveCache cache;
    TokenRescaleInputs x;
};

Drawn draw(Memory& memory, const AttentionShape& s, bool positive) {
    Drawn d{draw_cache(memory, s.heads, s.keys, s.dim, s.dim_v), {}};
    std::vector<std::int64_t> mask;
    for (std::int64_t j = 0; j < s.keys; ++j) mask.push_back(memory.random.chance(0.3));
    std::vector<float> factor;
    for (std::int64_t h = 0; h < s.query_heads; ++h)
        factor.push_back(positive ? 0.2f + static_cast<float>(h) : memory.random.normal());
    d.x = {memory.heads(s.query_heads, s.queries, s.dim), d.cache.view(), memory.indices(mask), memory.vector(factor)};
    return d;
}

TEST(TokenRescale, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes())
        for (const bool renormalize : {false, true})
            for (const bool causal : {false, true}) {
                const Drawn d = draw(memory, s, renormalize);
                const TokenRescaleOptions o{renormalize, causal, causal ? std::optional(0.4f) : std::nullopt};
                expect_values<call>(d.x, o, definition(d.x, d.cache, o));
            }
}

TEST(TokenRescale, TakesMasksOfAllKeysAndOfNone) {
    Memory memory;
    Drawn d = draw(memory, {2, 1, 5, 300, 8, 6}, false);
    for (const std::int64_t value : {0, 1}) {
        d.x.key_mask = memory.indices(std::vector<std::int64_t>(300, value));
        expect_values<call>(d.x, {}, definition(d.x, d.cache, {}));
    }
}

TEST(TokenRescale, KeepsNanInItsRow) {
    Memory memory;
    const Drawn d = draw(memory, {2, 1, 5, 30, 8, 6}, true);
    const_cast<float*>(d.x.q.row(1, 3))[2] = std::nanf("");
    on_every_isa([&](Context& context) {
        Outputs<call> out(d.x, {true});
        analysis::token_rescale(d.x, out.list, {true}, context);
        const auto sums = out.values().at("row_sum");
        for (std::size_t r = 0; r < sums.size(); ++r) EXPECT_EQ(std::isnan(sums[r]), r == 8) << r;
    });
}

TEST(TokenRescaleErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const Drawn d = draw(memory, {4, 2, 3, 9, 6, 5}, true);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(d.x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& in) { in.q.data = nullptr; }, {"token_rescale", "q", "null"}));
    EXPECT_TRUE(refused([](auto& in) { in.q.heads = 3, in.factor = in.factor.first(3); }, {"q", "3", "2"}));
    EXPECT_TRUE(refused([](auto& in) { in.key_mask = in.key_mask.first(8); }, {"key_mask", "8", "9"}));
    EXPECT_TRUE(refused([](auto& in) { in.factor = in.factor.first(3); }, {"factor", "3", "4"}));
    EXPECT_TRUE(refused([&](auto& in) { in.factor = memory.vector({1.f, 1.f, std::nanf(""), 1.f}); }, {"factor", "2"}));
    const std::int32_t positions[9] = {8, 7, 6, 5, 4, 3, 2, 1, 0};
    EXPECT_TRUE(refused([&](auto& in) { in.kv.positions = positions, in.kv.positions_stride = 9; }, {"kv", "order"}));
    auto vanishing = d.x;
    vanishing.key_mask = memory.indices(std::vector<std::int64_t>(9, 1));
    vanishing.factor = memory.vector({1.f, 0.f, 1.f, 1.f});
    EXPECT_TRUE(refuses_options<call>(vanishing, {true}, [](auto&) {}, {"renormalize", "query", "head", "1"}));
    Outputs<call> out(d.x, {});
    auto list = out.list;
    list.row_sum = list.lse;
    EXPECT_TRUE(refuses([&] { analysis::token_rescale(d.x, list); }, {"row_sum", "lse"}));
    list.row_sum = const_cast<float*>(d.x.factor.data());
    EXPECT_TRUE(refuses([&] { analysis::token_rescale(d.x, list); }, {"row_sum", "factor"}));
}

}  // namespace
}  // namespace attenta_test
