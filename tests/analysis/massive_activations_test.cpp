// Massive activations equal their definition, with planted values, equal ones and none; own errors.
#include <attenta/analysis/massive_activations.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::MassiveActivationsInputs, analysis::MassiveActivationsOptions;
constexpr auto call = &analysis::massive_activations;

Values definition(const MassiveActivationsInputs& x, const NaiveCache& cache, const MassiveActivationsOptions& o) {
    const std::int64_t channels = x.hidden.cols;
    std::vector<double> all;
    for (std::int64_t t = 0; t < x.hidden.rows; ++t)
        for (std::int64_t c = 0; c < channels; ++c) all.push_back(std::abs(double{x.hidden.row(0, t)[c]}));
    std::vector<double> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[(sorted.size() - 1) / 2];
    Values want{{"median", {median}}};
    std::vector<double>& tokens = want["tokens"];
    tokens.assign(static_cast<std::size_t>(x.hidden.rows), 0);
    for (std::size_t n = 0; n < all.size(); ++n) {
        const bool massive = all[n] > o.magnitude && all[n] > o.ratio * median;
        want["massive"].push_back(massive);
        if (massive) tokens[n / static_cast<std::size_t>(channels)] = 1;
    }
    std::vector<std::size_t> order(all.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return all[a] > all[b]; });
    order.resize(static_cast<std::size_t>(o.top));
    for (const std::size_t n : order) {
        want["top"].push_back(all[n]);
        want["top_index"].push_back(static_cast<double>(n / static_cast<std::size_t>(channels)));
        want["top_index"].push_back(static_cast<double>(n % static_cast<std::size_t>(channels)));
    }
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            const NaiveRow row = naive_row(x.q, cache.k, h, i, o.causal, o.scale);
            std::vector<double> sink = row.weights, rest = row.weights;
            for (std::size_t j = 0; j < sink.size(); ++j) (tokens[j] != 0 ? rest : sink)[j] = 0;
            append_output(want["o"], row.weights, cache.v, h, x.q.heads);
            append_output(want["o_sink"], sink, cache.v, h, x.q.heads);
            append_output(want["o_rest"], rest, cache.v, h, x.q.heads);
            want["lse"].push_back(row.lse);
            want["sink_weight"].push_back(std::accumulate(sink.begin(), sink.end(), 0.0));
        }
    return want;
}

struct Drawn {
    NaiveCache cache;
    MassiveActivationsInputs x;
};

Drawn draw(Memory& memory, const AttentionShape& s, std::int64_t channels, const std::vector<std::int64_t>& planted) {
    Drawn d{draw_cache(memory, s.heads, s.keys, s.dim, s.dim_v), {}};
    auto hidden = memory.normals<2>({s.keys, channels}, 0.3f);
    for (const std::int64_t t : planted)
        const_cast<float*>(hidden.data)[t * channels + t % channels] = t % 2 ? 480.f : -480.f;
    d.x = {{hidden.data, 1, s.keys, channels}, memory.heads(s.query_heads, s.queries, s.dim), d.cache.view()};
    return d;
}

TEST(MassiveActivations, EqualTheirDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes())
        for (const bool causal : {false, true})
            for (const bool any : {false, true}) {
                const Drawn d =
                    draw(memory, s, 7,
                         any ? std::vector<std::int64_t>{0, s.keys / 2, s.keys - 1} : std::vector<std::int64_t>{});
                MassiveActivationsOptions o;
                o.causal = causal;
                expect_values<call>(d.x, o, definition(d.x, d.cache, o));
            }
}

TEST(MassiveActivationsErrors, SayWhatDoesNotFit) {
    Memory memory;
    const Drawn d = draw(memory, {4, 2, 3, 9, 6, 5}, 7, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(d.x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.top = 0; }, {"massive_activations", "top", "0"}));
    EXPECT_TRUE(refused([](auto& o) { o.top = 64; }, {"top", "64", "63"}));
    EXPECT_TRUE(refused([](auto& o) { o.magnitude = -1; }, {"magnitude"}));
    EXPECT_TRUE(refused([](auto& o) { o.ratio = std::nan(""); }, {"ratio"}));
    EXPECT_TRUE(refuses_inputs<call>(d.x, {}, [](auto& in) { in.hidden.rows = 8; }, {"8", "9"}));
    const_cast<float*>(d.x.hidden.data)[11] = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"hidden", "4"}));
}

}  // namespace
}  // namespace attenta_test
