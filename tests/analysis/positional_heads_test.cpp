// Positional heads equal their definition, with equal numbers among them; their own errors.
#include <attenta/analysis/positional_heads.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::PositionalHeadsInputs, analysis::PositionalHeadsOptions, analysis::RotaryLayout;
constexpr auto call = &analysis::positional_heads;

std::vector<double> ranks(const std::vector<double>& x) {
    std::vector<double> all;
    for (const double e : x) {
        const auto less = std::count_if(x.begin(), x.end(), [e](double o) { return o < e; });
        const auto same = std::count(x.begin(), x.end(), e);
        all.push_back(static_cast<double>(less) + static_cast<double>(same + 1) / 2);
    }
    return all;
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
    const auto n = static_cast<double>(x.size());
    const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n, my = std::accumulate(y.begin(), y.end(), 0.0) / n;
    double xy = 0, xx = 0, yy = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    return xx * yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

Values definition(const PositionalHeadsInputs& x, const PositionalHeadsOptions& o) {
    const std::int64_t half = x.q.dim / 2;
    const std::size_t pairs = x.query_index.size();
    Values want;
    std::vector<double> distance;
    for (std::size_t p = 0; p < pairs; ++p)
        distance.push_back(std::abs(static_cast<double>(x.k.tokens - x.q.tokens + x.query_index[p] - x.key_index[p])));
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        std::vector<std::vector<double>> part(static_cast<std::size_t>(half), std::vector<double>(pairs));
        std::vector<double> total(pairs);
        for (std::size_t p = 0; p < pairs; ++p)
            for (std::int64_t f = 0; f < half; ++f) {
                const float *q = x.q.row(h, x.query_index[p]),
                            *k = x.k.row(h / (x.q.heads / x.k.heads), x.key_index[p]);
                const bool is_half = o.layout == RotaryLayout::half;
                const std::int64_t a = is_half ? f : 2 * f, b = is_half ? f + half : 2 * f + 1;
                const double e = double{q[a]} * double{k[a]} + double{q[b]} * double{k[b]};
                part[static_cast<std::size_t>(f)][p] = e;
                total[p] += e;
            }
        double sum = 0, weighted = 0;
        for (std::size_t f = 0; f < part.size(); ++f) {
            const double with_score = correlation(ranks(part[f]), ranks(total));
            want["contribution"].push_back(std::accumulate(part[f].begin(), part[f].end(), 0.0) /
                                           static_cast<double>(pairs));
            want["distance_correlation"].push_back(correlation(ranks(part[f]), ranks(distance)));
            want["score_correlation"].push_back(with_score);
            sum += std::max(with_score, 0.0);
            weighted += std::max(with_score, 0.0) * static_cast<double>(f);
        }
        want["frequency_center"].push_back(weighted / std::max(sum, 1e-12) /
                                           static_cast<double>(std::max<std::int64_t>(half - 1, 1)));
    }
    return want;
}

PositionalHeadsInputs drawn(Memory& memory, std::int64_t query_heads, std::int64_t heads, std::int64_t queries,
                            std::int64_t keys, std::int64_t dim, std::int64_t pairs) {
    std::vector<std::int64_t> i, j;
    for (std::int64_t p = 0; p < pairs; ++p) {
        i.push_back(memory.random.integer(0, queries - 1));
        j.push_back(memory.random.integer(0, keys - 1));
    }
    return {memory.heads(query_heads, queries, dim), memory.heads(heads, keys, dim), memory.indices(i),
            memory.indices(j)};
}

TEST(PositionalHeads, EqualTheirDefinition) {
    Memory memory;
    for (const auto& [hq, hkv, queries, keys, dim, pairs] : {std::array<std::int64_t, 6>{1, 1, 1, 1, 2, 2},
                                                             {4, 2, 37, 37, 16, 120},
                                                             {2, 2, 9, 61, 8, 75},
                                                             {3, 1, 5, 3, 2, 40}})
        for (const RotaryLayout layout : {RotaryLayout::half, RotaryLayout::interleaved}) {
            const auto x = drawn(memory, hq, hkv, queries, keys, dim, pairs);
            expect_values<call>(x, {layout}, definition(x, {layout}));
        }
}

TEST(PositionalHeadsErrors, SayWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 4, 2, 7, 9, 6, 12);
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& in) { in.q.dim = in.k.dim = 5; }, {"positional_heads", "q", "5", "even"}));
    EXPECT_TRUE(refused([](auto& in) { in.q.heads = 3; }, {"q", "3", "2"}));
    EXPECT_TRUE(refused([](auto& in) { in.q.tokens = 1; }, {"query_index", "0"}));
    EXPECT_TRUE(refused([](auto& in) { in.k.tokens = 1; }, {"key_index", "0"}));
    EXPECT_TRUE(refused(
        [](auto& in) {
            in.query_index = in.query_index.first(1);
            in.key_index = in.key_index.first(1);
        },
        {"pairs", "1", "2"}));
}

}  // namespace
}  // namespace attenta_test
