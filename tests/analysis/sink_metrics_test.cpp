// Sink metrics equal their definition; a star has the centralization 1; Fiedler values of known graphs; their own errors.
#include <attenta/analysis/sink_metrics.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::SinkMetricsInputs, analysis::SinkMetricsOptions, analysis::SinkAverage;
constexpr auto call = &analysis::sink_metrics;
constexpr auto fiedler = &analysis::fiedler_values;

Values definition(const SinkMetricsInputs& x, const SinkMetricsOptions& o) {
    const std::int64_t heads = x.attn.count(0, 2), queries = x.attn.size(2), keys = x.attn.size(3);
    Values want;
    want["sink_rate"].assign(static_cast<std::size_t>(keys), 0);
    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<double> share;
        for (std::int64_t j = 0; j < keys; ++j) {
            double sum = 0, count = 0;
            for (std::int64_t i = 0; i < queries; ++i) {
                sum += double{x.attn.data[(h * queries + i) * keys + j]};
                count += o.average == SinkAverage::all || !o.causal || j <= keys - queries + i;
            }
            const double received = sum / std::max(count, 1.0);
            want["received"].push_back(received);
            want["sinks"].push_back(received > o.threshold);
            want["sink_rate"][static_cast<std::size_t>(j)] += (received > o.threshold) / static_cast<double>(heads);
            share.push_back(sum / static_cast<double>(queries));
        }
        if (queries != keys || keys < 2) continue;
        const double top = *std::max_element(share.begin(), share.end());
        double total = 0;
        for (const double s : share) total += (top - s) / static_cast<double>(keys - 1);
        want["centralization"].push_back(total);
    }
    return want;
}

TEST(SinkMetrics, EqualTheirDefinition) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {2, 3, 17, 17}, {1, 5, 6, 31}, {3, 2, 70, 70}})
        for (const bool causal : {false, true})
            for (const SinkAverage average : {SinkAverage::visible, SinkAverage::all}) {
                const SinkMetricsInputs x{memory.weights(sizes, causal, 2)};
                const SinkMetricsOptions o{0.12, causal, average};
                if (sizes[2] == sizes[3] && sizes[3] > 1)
                    expect_values<call>(x, o, definition(x, o));
                else
                    expect_values<call>(x, o, definition(x, o), {}, {"centralization"});
            }
}

/// All look at one key.
TEST(SinkMetrics, AStarIsCentral) {
    Memory memory;
    std::vector<float> star(25, 0.f);
    for (std::size_t i = 0; i < 5; ++i) star[i * 5 + 2] = 1;
    const SinkMetricsInputs x{{memory.vector(star).data(), {1, 1, 5, 5}}};
    expect_values<call>(x, {0.3, false},
                        {{"received", {0, 0, 1, 0, 0}},
                         {"sinks", {0, 0, 1, 0, 0}},
                         {"sink_rate", {0, 0, 1, 0, 0}},
                         {"centralization", {1}}});
    expect_values<fiedler>(x, {}, {{"fiedler", {0.5}}});  // four edges of 1/2: eigenvalues 0, 1/2, 1/2, 1/2, 5/2
}

/// The complete graph of n tokens with edges of 1/n has the Fiedler value 1; the path of two with an edge w has 2 w.
TEST(SinkMetrics, FiedlerValuesOfKnownGraphs) {
    Memory memory;
    expect_values<fiedler>({{memory.vector(std::vector<float>(49, 1.f / 7)).data(), {1, 1, 7, 7}}}, {},
                           {{"fiedler", {1}}});
    expect_values<fiedler>({{memory.vector({0.75f, 0.25f, 0.5f, 0.5f}).data(), {1, 1, 2, 2}}}, {},
                           {{"fiedler", {0.75}}});
}

TEST(SinkMetricsErrors, SayWhatDoesNotFit) {
    Memory memory;
    const SinkMetricsInputs x{memory.weights<4>({2, 3, 7, 7})};
    expect_bad_tensors_refused<call>(x, {});
    expect_bad_tensors_refused<fiedler>(x, {});
    for (const double t : {0.0, 1.0, std::nan("")})
        EXPECT_TRUE(refuses_options<call>(x, {}, [t](auto& o) { o.threshold = t; }, {"sink_metrics", "threshold"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.attn.sizes[3] = 6; }, {"attn", "7", "causal", "6"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.attn.sizes[2] = 6; }, {"centralization", "6", "7"}));
}

}  // namespace
}  // namespace attenta_test
