// Calibrated sinks equal their definition; rows still sum to 1; own errors.
#include <attenta/analysis/calibrate_sinks.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::CalibrateSinksInputs, analysis::CalibrateSinksOptions, analysis::SinkProtection;
constexpr auto call = &analysis::calibrate_sinks;

/// Received weight of the keys of one head.
std::vector<double> received_by(const std::vector<NaiveRow>& rows, std::int64_t keys) {
    std::vector<double> sum(static_cast<std::size_t>(keys)), seen(sum.size());
    for (const NaiveRow& row : rows)
        for (std::size_t j = 0; j < row.weights.size(); ++j) {
            sum[j] += row.weights[j];
            ++seen[j];
        }
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] /= std::max(seen[j], 1.0);
    return sum;
}

std::vector<bool> sinks_of(const std::vector<double>& received, std::int64_t head, const CalibrateSinksOptions& o) {
    std::vector<bool> sink;
    for (const double r : received) sink.push_back(r > o.threshold);
    if (o.protect == SinkProtection::first_token)
        sink[0] = false;
    else if (const auto first = std::find(sink.begin(), sink.end(), true); first != sink.end())
        *first = false;
    if (std::find(o.heads.begin(), o.heads.end(), head) == o.heads.end()) sink.assign(sink.size(), false);
    return sink;
}

Values definition(const CalibrateSinksInputs& x, const NaiveCache& cache, const CalibrateSinksOptions& o) {
    Values want;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        std::vector<NaiveRow> rows;
        for (std::int64_t i = 0; i < x.q.tokens; ++i) rows.push_back(naive_row(x.q, cache.k, h, i, o.causal, o.scale));
        const auto received = received_by(rows, cache.k.tokens);
        const auto sink = sinks_of(received, h, o);
        want["received"].insert(want["received"].end(), received.begin(), received.end());
        want["sinks"].insert(want["sinks"].end(), sink.begin(), sink.end());
        for (NaiveRow& row : rows) {
            double on = 0, rest = 0;
            for (std::size_t j = 0; j < row.weights.size(); ++j) (sink[j] ? on : rest) += row.weights[j];
            for (std::size_t j = 0; j < row.weights.size() && rest >= o.min_rest; ++j)
                row.weights[j] *= sink[j] ? o.beta : 1 + (on > 0 ? (1 - o.beta) * on / rest : 0);
            append_output(want["o"], row.weights, cache.v, h, x.q.heads);
            append_weights(want["weights"], row.weights, cache.k.tokens);
            want["lse"].push_back(row.lse);
        }
    }
    return want;
}

struct Drawn {
    NaiveCache cache;
    CalibrateSinksInputs x;
};

/// Some keys are drawn to the queries.
Drawn draw(Memory& memory, const AttentionShape& s) {
    Drawn d{draw_cache(memory, s.heads, s.keys, s.dim, s.dim_v), {}};
    const View q = memory.heads(s.query_heads, s.queries, s.dim);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t i = 0; i < q.tokens; ++i) const_cast<float*>(q.row(h, i))[0] += 2;
    for (std::int64_t h = 0; h < s.heads; ++h)
        for (const std::int64_t j : {std::int64_t{0}, s.keys / 4, s.keys / 4 + 1, s.keys / 2})
            const_cast<float*>(d.cache.k.row(h, j))[0] += 5;
    d.x = {q, d.cache.view()};
    return d;
}

TEST(CalibrateSinks, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes())
        for (const bool causal : {false, true})
            for (const SinkProtection protect : {SinkProtection::first_detected, SinkProtection::first_token}) {
                const Drawn d = draw(memory, s);
                CalibrateSinksOptions o;
                o.heads = {s.query_heads - 1};
                if (s.query_heads > 2) o.heads.push_back(0);
                o.causal = causal;
                o.protect = protect;
                o.threshold = 0.0731;
                o.beta = causal ? 0.4 : 0.0;
                expect_values<call>(d.x, o, definition(d.x, d.cache, o));
            }
}

TEST(CalibrateSinks, LeavesRowsWithASumOfOne) {
    Memory memory;
    const Drawn d = draw(memory, {2, 1, 40, 40, 16, 8});
    CalibrateSinksOptions o;
    o.heads = {0, 1};
    Outputs<call> out(d.x, o);
    analysis::calibrate_sinks(d.x, out.list, o);
    const auto weights = out.values().at("weights");
    for (std::ptrdiff_t r = 0; r < 80; ++r)
        EXPECT_NEAR(std::accumulate(weights.begin() + 40 * r, weights.begin() + 40 * (r + 1), 0.0), 1, 1e-5);
}

TEST(CalibrateSinksErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const Drawn d = draw(memory, {4, 2, 3, 9, 6, 5});
    CalibrateSinksOptions good;
    good.heads = {1};
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(d.x, good, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.heads = {}; }, {"calibrate_sinks", "heads", "empty"}));
    EXPECT_TRUE(refused([](auto& o) { o.heads = {1, 4}; }, {"heads", "4", "3"}));
    EXPECT_TRUE(refused([](auto& o) { o.heads = {1, 1}; }, {"heads", "1", "twice"}));
    EXPECT_TRUE(refused([](auto& o) { o.beta = 1.5; }, {"beta"}));
    EXPECT_TRUE(refused([](auto& o) { o.threshold = 0; }, {"threshold"}));
    EXPECT_TRUE(refused([](auto& o) { o.min_rest = -1; }, {"min_rest"}));
    EXPECT_TRUE(refused([](auto& o) { o.scale = std::nanf(""); }, {"scale"}));
    EXPECT_TRUE(refuses_inputs<call>(d.x, good, [](auto& in) { in.q.dim = 5; }, {"k", "5", "6"}));
    Outputs<call> out(d.x, good);
    auto list = out.list;
    list.received = list.weights;
    EXPECT_TRUE(refuses([&] { analysis::calibrate_sinks(d.x, list, good); }, {"received", "weights"}));
}

}  // namespace
}  // namespace attenta_test
