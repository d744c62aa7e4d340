// Concentration equals its definition, also of sharp attention; the spectral gap; their own errors.
#include <attenta/analysis/concentration.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::ConcentrationInputs, analysis::ConcentrationOptions;
constexpr auto call = &analysis::concentration;
constexpr auto gap = &analysis::spectral_gap;

double mean_of(const std::vector<double>& x) {
    return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}
double variance_of(const std::vector<double>& x) {
    const double mean = mean_of(x);
    double sum = 0;
    for (const double e : x) sum += (e - mean) * (e - mean);
    return sum / static_cast<double>(x.size());
}
double deviation_of(const View& x, std::int64_t head) {
    std::vector<double> all;
    for (std::int64_t t = 0; t < x.tokens; ++t) all.insert(all.end(), x.row(head, t), x.row(head, t) + x.dim);
    return std::sqrt(variance_of(all));
}

Values definition(const ConcentrationInputs& x, const ConcentrationOptions& o) {
    Values want;
    const double root = std::sqrt(static_cast<double>(x.q.dim)), scale = o.scale ? double{*o.scale} : 1 / root;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        std::vector<double> scores, logs, entropies;
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const NaiveRow row = naive_row(x.q, x.k, h, i, o.causal, o.scale);
            double entropy = 0;
            for (std::size_t j = 0; j < row.scores.size(); ++j) {
                entropy -= row.weights[j] * (row.scores[j] - row.lse);
                logs.push_back(row.scores[j] - row.lse);
            }
            scores.insert(scores.end(), row.scores.begin(), row.scores.end());
            entropies.push_back(entropy);
            want["entropy"].push_back(entropy);
            want["lse"].push_back(row.lse);
        }
        want["mean_entropy"].push_back(mean_of(entropies));
        want["log_mean"].push_back(mean_of(logs));
        want["log_variance"].push_back(variance_of(logs));
        want["score_variance"].push_back(variance_of(scores));
        want["temperature"].push_back(1 / std::sqrt(variance_of(scores)));
        want["gaussian_temperature"].push_back(
            1 / (scale * root * deviation_of(x.q, h) * deviation_of(x.k, h / (x.q.heads / x.k.heads))));
    }
    return want;
}

TEST(Concentration, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes()) {
        if (s.keys == 1) continue;
        for (const float sharp : {1.f, 9.f})
            for (const bool causal : {false, true}) {
                const ConcentrationInputs x{memory.heads(s.query_heads, s.queries, s.dim, sharp),
                                            memory.heads(s.heads, s.keys, s.dim)};
                const ConcentrationOptions options{causal, causal ? std::optional(0.3f) : std::nullopt};
                expect_values<call>(x, options, definition(x, options));
            }
    }
}

/// More scores than are in memory at a time.
TEST(Concentration, EqualsItsDefinitionInPieces) {
    Memory memory;
    const ConcentrationInputs x{memory.heads(4, 300, 4), memory.heads(2, 1000, 4)};
    expect_values<call>(x, {true}, definition(x, {true}));
}

/// Of 2 x 2 weights the second eigenvalue is a_00 + a_11 − 1; of causal ones it is the diagonal's second largest.
TEST(SpectralGap, FollowsFromTraceAndDiagonal) {
    Memory memory;
    const ConcentrationInputs x{memory.heads(4, 2, 6), memory.heads(2, 2, 6)};
    Values want;
    for (std::int64_t h = 0; h < 4; ++h)
        want["spectral_gap"].push_back(1 - std::abs(naive_row(x.q, x.k, h, 0, false, {}).weights[0] +
                                                    naive_row(x.q, x.k, h, 1, false, {}).weights[1] - 1));
    expect_values<gap>(x, {}, want);
    const ConcentrationInputs longer{memory.heads(2, 23, 6), memory.heads(1, 23, 6)};
    want.clear();
    for (std::int64_t h = 0; h < 2; ++h) {
        std::vector<double> diagonal;
        for (std::int64_t i = 0; i < 23; ++i)
            diagonal.push_back(naive_row(longer.q, longer.k, h, i, true, {}).weights.back());
        std::sort(diagonal.rbegin(), diagonal.rend());
        want["spectral_gap"].push_back(1 - diagonal[1]);
    }
    expect_values<gap>(longer, {true}, want);
}

TEST(ConcentrationErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const ConcentrationInputs x{memory.heads(4, 5, 6), memory.heads(2, 9, 6)};
    expect_bad_tensors_refused<call>(x, {});
    expect_bad_tensors_refused<gap>({memory.heads(4, 9, 6), x.k}, {});
    const auto inputs = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, {}, change, words);
    };
    EXPECT_TRUE(inputs([](auto& in) { in.k.dim = 5; }, {"concentration", "k", "5", "6"}));
    EXPECT_TRUE(inputs([](auto& in) { in.q.heads = 3; }, {"q", "3", "2"}));
    EXPECT_TRUE(inputs([](auto& in) { in.q.token_stride = 0, in.q.tokens = 1, in.k.tokens = 1; }, {"temperature"}));
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.scale = std::nanf(""); }, {"scale"}));
    EXPECT_TRUE(refuses_options<call>(x, {}, [](auto& o) { o.scale = 0.f; }, {"scale", "0"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {true}, [](auto& in) { in.k.tokens = 4; }, {"q", "5", "causal", "4"}));
    EXPECT_TRUE(refuses_inputs<gap>(x, {}, [](auto&) {}, {"spectral_gap", "5", "9"}));
}

}  // namespace
}  // namespace attenta_test
