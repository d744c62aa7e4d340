// Calibrated positions equal their definition; documents keep their weight together; own errors.
#include <attenta/analysis/calibrate_position.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::CalibratePositionInputs, analysis::CalibratePositionOptions, analysis::CalibratedRows,
    analysis::RelevanceOf;
constexpr auto call = &analysis::calibrate_position;

Values definition(const CalibratePositionInputs& x, const NaiveCache& cache, const CalibratePositionOptions& o) {
    const std::size_t documents = x.doc_start.size();
    const auto start = [&](std::size_t d) { return static_cast<std::size_t>(x.doc_start[d]); };
    const auto end = [&](std::size_t d) { return static_cast<std::size_t>(x.doc_end[d]); };
    Values want;
    std::vector<NaiveRow> rows;
    std::vector<std::vector<double>> mean, relevance;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            rows.push_back(naive_row(x.q, cache.k, h, i, o.causal, o.scale));
            mean.emplace_back(), relevance.emplace_back();
            for (std::size_t d = 0; d < documents; ++d) {
                double sum = 0;
                for (std::size_t j = start(d); j < end(d); ++j) sum += rows.back().weights[j];
                mean.back().push_back(sum / static_cast<double>(end(d) - start(d)));
                relevance.back().push_back(mean.back()[d] - double{x.dummy.row(0, h)[d]});
            }
        }
    const auto queries = static_cast<std::size_t>(x.q.tokens), heads = static_cast<std::size_t>(x.q.heads);
    if (o.aggregate == RelevanceOf::layer)
        for (std::size_t i = 0; i < queries; ++i)
            for (std::size_t d = 0; d < documents; ++d) {
                double sum = 0;
                for (std::size_t h = 0; h < heads; ++h)
                    sum += relevance[h * queries + i][d] / static_cast<double>(heads);
                for (std::size_t h = 0; h < heads; ++h) relevance[h * queries + i][d] = sum;
            }
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const auto head = static_cast<std::int64_t>(r / queries);
        std::vector<double>& a = rows[r].weights;
        const bool chosen = (o.rows == CalibratedRows::all || r % queries == queries - 1) &&
                            (!o.heads || std::count(o.heads->begin(), o.heads->end(), head) > 0);
        const double top = *std::max_element(relevance[r].begin(), relevance[r].end());
        std::vector<double> alpha;
        for (const double e : relevance[r]) alpha.push_back(std::exp((e - top) / o.temperature));
        double before = 0, after = 0;
        for (std::size_t d = 0; d < documents; ++d) {
            before += static_cast<double>(end(d) - start(d)) * mean[r][d];
            after += static_cast<double>(end(d) - start(d)) * alpha[d];
        }
        for (std::size_t d = 0; d < documents && chosen; ++d)
            for (std::size_t j = start(d); j < end(d); ++j) a[j] *= before / after * alpha[d] / mean[r][d];
        append_output(want["o"], a, cache.v, head, x.q.heads);
        append_weights(want["weights"], a, cache.k.tokens);
        want["lse"].push_back(rows[r].lse);
        want["relevance"].insert(want["relevance"].end(), relevance[r].begin(), relevance[r].end());
    }
    return want;
}

struct Drawn {
    NaiveCache cache;
    CalibratePositionInputs x;
    std::vector<float> dummy;
};

Drawn draw(Memory& memory, const AttentionShape& s, std::vector<std::int64_t> start, std::vector<std::int64_t> end) {
    Drawn d{draw_cache(memory, s.heads, s.keys, s.dim, s.dim_v), {}, {}};
    const std::int64_t documents = std::ssize(start);
    const auto dummy = memory.weights<2>({s.query_heads, documents});
    d.x = {memory.heads(s.query_heads, s.queries, s.dim),
           d.cache.view(),
           memory.indices(start),
           memory.indices(end),
           {dummy.data, 1, s.query_heads, documents}};
    return d;
}

TEST(CalibratePosition, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s :
         {AttentionShape{1, 1, 1, 1, 1, 1}, {4, 2, 1, 29, 8, 6}, {3, 3, 5, 37, 12, 9}, {6, 2, 20, 310, 16, 17}})
        for (const bool causal : {false, true})
            for (const RelevanceOf aggregate : {RelevanceOf::head, RelevanceOf::layer})
                for (const CalibratedRows rows : {CalibratedRows::last, CalibratedRows::all}) {
                    const std::int64_t seen = s.keys - s.queries + 1;
                    const Drawn d = s.keys == 1 ? draw(memory, s, {0}, {1})
                                                : draw(memory, s, {seen / 2, 1, seen - 2}, {seen - 3, seen / 2, seen});
                    CalibratePositionOptions o{.temperature = 0.3,
                                               .aggregate = aggregate,
                                               .rows = rows,
                                               .heads = {},
                                               .causal = causal,
                                               .scale = {}};
                    if (causal) o.heads = {s.query_heads - 1};
                    expect_values<call>(d.x, o, definition(d.x, d.cache, o));
                }
}

/// At a temperature that lets one document have it all.
TEST(CalibratePosition, DocumentsKeepTheirWeight) {
    Memory memory;
    const Drawn d = draw(memory, {2, 1, 3, 40, 8, 6}, {2, 20}, {20, 33});
    const CalibratePositionOptions o{.temperature = 1e-9};
    const std::optional<float> scale;
    Outputs<call> out(d.x, o);
    analysis::calibrate_position(d.x, out.list, o);
    const auto weights = out.values().at("weights");
    for (std::int64_t h = 0; h < 2; ++h) {
        const auto before = naive_row(d.x.q, d.cache.k, h, 2, true, scale).weights;
        const auto* const after = weights.data() + (h * 3 + 2) * 40;
        EXPECT_NEAR(std::accumulate(after + 2, after + 33, 0.0),
                    std::accumulate(before.begin() + 2, before.begin() + 33, 0.0), 1e-5);
        EXPECT_TRUE(after[3] == 0 || after[21] == 0);
    }
}

TEST(CalibratePositionErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const Drawn d = draw(memory, {4, 2, 3, 9, 6, 5}, {0, 4}, {3, 6});
    const auto inputs = [&](std::vector<std::int64_t> start, std::vector<std::int64_t> end,
                            std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(
            d.x, {},
            [&](auto& in) {
                in.doc_start = memory.indices(start);
                in.doc_end = memory.indices(end);
            },
            words);
    };
    EXPECT_TRUE(inputs({0, 2}, {3, 6}, {"calibrate_position", "document", "1", "2"}));
    EXPECT_TRUE(inputs({0, 4}, {3, 4}, {"document", "1", "4"}));
    EXPECT_TRUE(inputs({0, 4}, {3, 8}, {"document", "1", "8", "7"}));
    EXPECT_TRUE(inputs({0, 4, 5}, {3, 5, 6}, {"dummy", "2", "3"}));
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(d.x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.temperature = 0; }, {"temperature"}));
    EXPECT_TRUE(refused([](auto& o) { o.heads = {4}; }, {"heads", "4", "3"}));
}

}  // namespace
}  // namespace attenta_test
