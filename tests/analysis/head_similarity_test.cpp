// Head similarity equals its definition, of nearly equal heads too; it is symmetric; its own errors.
#include <attenta/analysis/head_similarity.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::HeadSimilarityInputs, analysis::HeadSimilarityOptions;
constexpr auto call = &analysis::head_similarity;

Values definition(const HeadSimilarityInputs& x, const HeadSimilarityOptions& o) {
    const std::int64_t heads = x.attn.count(0, 2), all = x.attn.size(2) * x.attn.size(3);
    const auto smooth = [&](float a) {
        return (1 - o.smoothing) * double{a} + o.smoothing / static_cast<double>(x.attn.size(3));
    };
    const auto term = [](double b, double m) { return b > 0 ? 0.5 * b * std::log(b / m) : 0; };
    Values want;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t g = 0; g < heads; ++g) {
            double sum = 0;
            for (std::int64_t i = 0; i < all; ++i) {
                const double a = smooth(x.attn.data[h * all + i]), b = smooth(x.attn.data[g * all + i]),
                             m = (a + b) / 2;
                sum += term(a, m) + term(b, m);
            }
            want["js"].push_back(sum);
        }
    return want;
}

TEST(HeadSimilarity, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 5, 1, 9}, {2, 3, 23, 23}, {2, 2, 9, 130}})
        for (const bool causal : {false, true})
            for (const double smoothing : {0.0, 1e-3, 0.05, 1.0})
                for (const double sharp : {1.0, 12.0}) {
                    const HeadSimilarityInputs x{memory.weights(sizes, causal, sharp)};
                    expect_values<call>(x, {smoothing}, definition(x, {smoothing}));
                }
}

/// Differences far below the weights' own digits in a sum of entropies.
TEST(HeadSimilarity, TellsNearlyEqualHeadsApart) {
    Memory memory;
    auto weights = memory.weights<4>({1, 2, 40, 40});
    for (std::int64_t i = 0; i < 1600; ++i)
        const_cast<float*>(weights.data)[1600 + i] = weights.data[i] * (1 + (i % 2 == 0 ? 1e-3f : -1e-3f));
    const HeadSimilarityInputs x{weights};
    const Values want = definition(x, {});
    ASSERT_LT(want.at("js")[1], 1e-4);
    expect_values<call>(x, {}, want, {.absolute = 1e-9, .relative = 2e-3});
}

TEST(HeadSimilarityErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const HeadSimilarityInputs x{memory.weights<4>({2, 3, 5, 7})};
    expect_bad_tensors_refused<call>(x, {});
    for (const double s : {-0.1, 1.1, std::nan("")})
        EXPECT_TRUE(refuses_options<call>(x, {}, [s](auto& o) { o.smoothing = s; }, {"head_similarity", "smoothing"}));
}

}  // namespace
}  // namespace attenta_test
